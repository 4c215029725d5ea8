//! [`Interrupt`]: ends one job from outside, with a reason.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Ends one job from another thread. Clones end the same job.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    why: Arc<OnceLock<String>>,
}

impl Interrupt {
    /// Asks for the job to end. The first reason counts.
    pub fn interrupt(&self, why: &str) {
        self.why.get_or_init(|| why.to_owned());
        self.flag.store(true, Ordering::SeqCst);
    }

    /// The reason why the job is to end; `None` if it is not.
    pub fn why(&self) -> Option<&str> {
        self.why.get().map(String::as_str)
    }

    /// A flag that becomes true when the job is to end.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.why(), None);
        interrupt.clone().interrupt("the job was cancelled");
        interrupt.interrupt("something else");
        assert_eq!((interrupt.why(), interrupt.flag().load(Ordering::SeqCst)), (Some("the job was cancelled"), true));
    }
}
