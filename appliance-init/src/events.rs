//! [`Event`]: everything that PID 1 is told once the root is mounted. Threads send events, [`crate::supervisor`]
//! decides.

use network::clock::SyncReport;

use crate::state::Load;
use crate::system::Ending;
use appliance::report::Report;

/// An event for PID 1's main loop.
#[derive(Debug)]
pub enum Event {
    /// The machine is to end, for this reason.
    End(Ending, String),
    /// A child has ended.
    ChildEnded,
    /// Drivers for the GPUs that were there at the start are loaded.
    GpuDriversLoaded,
    /// Drivers for everything that was there at the start are loaded.
    DriversLoaded,
    /// A network interface, an address or the like came or went.
    Network(network::NetworkEvent),
    /// The result of setting the clock.
    Clock(Result<SyncReport, ClockError>),
    /// A report from the agent to PID 1.
    Report(Report),
    /// A message from the agent to people.
    AgentSaid(String),
    /// The power button was pressed.
    PowerButton,
    /// What GPUs do at the moment.
    Loads(Vec<Load>),
    /// A message to people, without any effect.
    Said(String),
    /// A problem, which stays on the status screen.
    Problem(String),
}

/// Why the clock is not set.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The kernel refused the time.
    #[error(transparent)]
    Set(network::clock::Error),
    /// There is no thread that could ask for it.
    #[error("starting a thread that sets the clock: {0}")]
    Thread(std::io::Error),
}
