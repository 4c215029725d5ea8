//! Long work, on threads of its own with a low priority, so that it does not slow down the requests that workers wait
//! for.

use protocol::api::Problem;
use tokio::sync::oneshot;

use crate::problem::internal;

/// The nice(1) value of these threads.
const NICE: i32 = 10;

/// Runs a function on a thread of its own and waits for its result. The caller limits how many run at once.
pub(crate) async fn run_in_background<T, F>(name: &str, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux this affects the calling thread only. If it is refused, the work is done at normal priority.
        let _ = rustix::process::setpriority_process(None, NICE);
        // The request that wanted the outcome may be gone.
        let _ = sender.send(work());
    });
    thread.map_err(|error| internal(&error))?;
    receiver.await.map_err(|error| internal(&error))
}
