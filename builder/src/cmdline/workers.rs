//! Options of `rocbed workers` and its subcommands.

use clap::{Args, Subcommand};

use super::AtHub;

/// `rocbed workers`
#[derive(Debug, Subcommand)]
pub enum WorkersCommand {
    /// List workers by their names
    List(WorkersList),
    /// Show one with everything that is known of it
    Show(WorkersShow),
    /// Give workers no more jobs, until they are resumed
    ///
    /// What they run goes on to its end, and restarting them changes nothing: use it for a machine that somebody needs for
    /// something else, or that makes tests fail.
    Pause(WorkersPause),
    /// Give workers jobs again
    Resume(WorkersNamed),
    /// Have a worker try GPUs again that it has left out for their faults
    ///
    /// A GPU that had faults again and again gets no more jobs; `rocbed workers show` names it, and the machine's other GPUs
    /// work on. The worker hears of this command when it asks for its next job, and restarts.
    RetryGpu(WorkersRetryGpu),
    /// Forget workers that are gone
    ///
    /// Their tokens are good for nothing any more, the jobs that they have are given to others, and their results stay. A
    /// machine that still has the join token comes back when it asks for a job: pause it instead, or give the hub a new join
    /// token.
    Remove(WorkersNamed),
}

/// `rocbed workers list`
#[derive(Debug, Args)]
pub struct WorkersList {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed workers show`
#[derive(Debug, Args)]
pub struct WorkersShow {
    /// Which: its name, its id, or the beginning of either
    pub worker: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed workers pause`
#[derive(Debug, Args)]
pub struct WorkersPause {
    /// Why, for those who look at the hub and for the machine's screen
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Which worker, and of which hub.
    #[command(flatten)]
    pub named: WorkersNamed,
}

/// `rocbed workers retry-gpu`
#[derive(Debug, Args)]
pub struct WorkersRetryGpu {
    /// Which worker
    pub worker: String,
    /// Ids or unique ids of GPUs, as `rocbed workers show` has them [default: all that were left out]
    #[arg(value_name = "GPU")]
    pub gpus: Vec<String>,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed workers resume`, `rocbed workers remove`
#[derive(Debug, Args)]
pub struct WorkersNamed {
    /// Which: their names as `rocbed workers list` has them, their ids, or the beginnings of either
    #[arg(required = true, value_name = "WORKER")]
    pub workers: Vec<String>,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}
