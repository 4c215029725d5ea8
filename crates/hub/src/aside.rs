//! Work that takes long: on threads of its own with a low priority, so that it stands in nobody's way. Requests that workers
//! wait for run on the others.

use protocol::api::Problem;
use tokio::sync::oneshot;

use crate::problem::internal;

/// How much these threads stand back, as nice(1) counts it.
const NICE: i32 = 10;

/// Runs something on a thread of its own, and waits for what comes of it. Whoever calls this bounds how many there are.
pub(crate) async fn aside<T, F>(name: &str, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux this is the calling thread alone. Where it is refused, the work is done all the same.
        let _ = rustix::process::setpriority_process(None, NICE);
        drop(sender.send(work()));
    });
    thread.map_err(|error| internal(&error))?;
    receiver.await.map_err(|error| internal(&error))
}
