//! Progress reporting for long operations.
//!
//! Libraries take a `&dyn Progress` and never print. The command line turns it into bars on a terminal, plain lines
//! in a log, or nothing; tests use [`Silent`].

/// The unit in which a task counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as KiB, MiB or GiB with a rate.
    Bytes,
    /// Whole things, such as packages or files.
    Items,
}

/// Receives the progress of long operations. Implementations are called from several threads at once.
pub trait Progress: Send + Sync {
    /// Begins a task; `name` is a gerund phrase ("unpacking packages"). It ends when the returned task is dropped.
    /// `total` is `None` if it is not known beforehand.
    fn task(&self, name: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task>;

    /// Shows a warning to the user; the work goes on.
    fn warn(&self, message: &str);
}

/// One running task of a [`Progress`].
pub trait Task: Send + Sync {
    /// Reports that `amount` more units are done.
    fn advance(&self, amount: u64);

    /// Reports the current item, for example a package's name.
    fn detail(&self, what: &str);
}

/// Ignores all progress and prints nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn task(&self, _name: &str, _total: Option<u64>, _unit: Unit) -> Box<dyn Task> {
        Box::new(Self)
    }

    fn warn(&self, _message: &str) {}
}

impl Task for Silent {
    fn advance(&self, _amount: u64) {}

    fn detail(&self, _what: &str) {}
}
