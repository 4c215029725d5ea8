//! [`Event`]: everything that PID 1 hears of once the root is there. Threads send, [`crate::supervisor`] decides.

use crate::system::Ending;
use appliance::report::Report;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// Somebody wants the machine to end, and why.
    End(Ending, String),
    /// A child has ended.
    ChildEnded,
    /// Drivers for the GPUs that were there at the start are loaded.
    GpuDriversLoaded,
    /// Drivers for everything that was there at the start are loaded.
    DriversLoaded,
    /// A network card, an address or the like came or went.
    Network(network::Event),
    /// What came of setting the clock.
    Clock(Result<String, String>),
    /// The agent says something to PID 1.
    Report(Report),
    /// The agent says something to people.
    AgentSaid(String),
    /// The power button was pressed.
    PowerButton,
    /// Something for people to know, that changes nothing.
    Said(String),
    /// Something is wrong, and stays on the status screen.
    Problem(String),
}
