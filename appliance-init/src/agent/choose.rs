//! Where this machine takes jobs from: the first place that there is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::exchange::{Exchange, ExchangeError};
use super::port::Port;
use crate::settings::Settings;

/// A place to take jobs from.
pub struct Place {
    /// It.
    pub exchange: Box<dyn Exchange>,
    /// Whether the machine is a worker that is looked after: qualified, checked, restarted where it has to be, and
    /// remembers what it ran. If not, somebody else's program holds it and waits for all jobs of one list.
    pub is_worker: bool,
}

/// Chooses, and adds to the settings what comes with the choice:
///
/// 1. the port of whoever runs this virtual machine.
///
/// `None` if there is nowhere to take jobs from.
///
/// # Errors
/// If a place is there and cannot be used.
pub fn choose(settings: &mut Settings, _stop: &Arc<AtomicBool>) -> Result<Option<Place>, ExchangeError> {
    if let Some(port) = Port::open(settings)? {
        return Ok(Some(Place { exchange: Box::new(port), is_worker: false }));
    }
    Ok(None)
}
