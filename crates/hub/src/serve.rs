//! Listening: connections, TLS, and what is done about clients that are slow or too many.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tower::util::MapRequest;

use crate::app::app;
use crate::connections::{Connections, Visit};
use crate::error::HubError;
use crate::hub::Hub;
use crate::tls::Tls;

/// When the hub ends, requests that are being answered have this long.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Open files besides connections: the database, logs, bundles.
const OTHER_FILES: usize = 256;

/// Threads that wait for files.
const BLOCKING_THREADS: usize = 32;

/// Where a hub listens.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    tls: Option<Tls>,
}

impl Listener {
    /// Listens for plain HTTP: for the machine itself, a network that is trusted, or a reverse proxy.
    pub fn plain(socket: std::net::TcpListener) -> Self {
        Self { socket, tls: None }
    }

    /// Listens for HTTPS.
    pub fn tls(socket: std::net::TcpListener, tls: Tls) -> Self {
        Self { socket, tls: Some(tls) }
    }
}

impl Hub {
    /// Serves until `shutdown` is ready. Then claims that wait are answered with nothing, and requests that are being
    /// answered have ten seconds.
    ///
    /// # Errors
    /// If a socket cannot be used.
    pub async fn serve(&self, listeners: Vec<Listener>, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
        let router = app(self.shared.clone());
        let graceful = Arc::new(GracefulShutdown::new());
        let most = connections(self.shared.config.max_connections);
        let connection_permits = Arc::new(Semaphore::new(most));
        let known = Connections::new(self.shared.config.max_connections_per_address, most / 2);
        let mut tasks = tokio::task::JoinSet::new();
        // What is set once requests are answered is done only when [`Hub::read_archive`] and the like are called.
        let (watch, keep) = (self.shared.watch.get().cloned(), self.shared.keep.get().cloned());
        for listener in listeners {
            let failed = |error| HubError::Io { action: "listen on", path: "socket".into(), error };
            listener.socket.set_nonblocking(true).map_err(failed)?;
            let socket = TcpListener::from_std(listener.socket).map_err(failed)?;
            let accept = Accept {
                hub: self.clone(),
                router: router.clone(),
                tls: listener.tls.map(|tls| TlsAcceptor::from(tls.config)),
                graceful: graceful.clone(),
                connection_permits: connection_permits.clone(),
                known: known.clone(),
            };
            tasks.spawn(accept.run(socket));
        }
        let housekeeping = self.clone();
        tasks.spawn(async move { housekeeping.run_housekeeping().await });
        let storage = self.clone();
        tasks.spawn(async move { storage.run_storage().await });
        let joining = self.clone();
        tasks.spawn(async move { joining.run_joining().await });
        if let Some(options) = keep {
            let keeping = self.clone();
            tasks.spawn(async move { keeping.run_keeping(options).await });
        }
        let posting = self.clone();
        tasks.spawn(async move { posting.run_webhooks().await });
        if let Some(watch) = watch {
            let watching = self.clone();
            tasks.spawn(async move { watching.run_watch(watch).await });
        }
        shutdown.await;
        tasks.shutdown().await;
        self.stop();
        if let Some(link) = self.shared.debci.get().cloned() {
            // It waits for results that are being sent. An error is a panic, which was printed where it happened.
            let _ = tokio::task::spawn_blocking(move || link.end()).await;
        }
        if let Some(link) = self.shared.offers.get().cloned() {
            // As with the other.
            let _ = tokio::task::spawn_blocking(move || link.end()).await;
        }
        if let Some(graceful) = Arc::into_inner(graceful)
            && tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err()
        {
            tracing::warn!("some requests were not answered to the end");
        }
        self.save_seen().await;
        Ok(())
    }

    /// Serves on the current thread's own runtime: for programs that are not async.
    ///
    /// # Errors
    /// If the runtime cannot be started, or as [`Hub::serve`].
    pub fn serve_blocking(&self, listeners: Vec<Listener>, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
        let failed = |error: io::Error| HubError::System { what: "threads", reason: error.to_string() };
        // Files are read and written on these: more than the disk can do at once would only cost memory.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .map_err(failed)?;
        runtime.block_on(self.serve(listeners, shutdown))
    }
}

/// Ready when the process gets SIGINT or SIGTERM.
pub async fn until_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

struct Accept {
    hub: Hub,
    router: axum::Router,
    tls: Option<TlsAcceptor>,
    graceful: Arc<GracefulShutdown>,
    connection_permits: Arc<Semaphore>,
    known: Connections,
}

impl Accept {
    async fn run(self, socket: TcpListener) {
        loop {
            let (stream, peer) = match socket.accept().await {
                Ok((stream, peer)) => (stream, peer.ip()),
                Err(error) => {
                    // Out of file descriptors, most likely: connections that end make room.
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // A visitor makes room for what may be a worker, and only once somebody waits: else the last one to come would
            // be ended for nobody.
            if self.connection_permits.available_permits() == 0 {
                self.known.make_room();
            }
            let Ok(permit) = self.connection_permits.clone().acquire_owned().await else { return };
            // Answers are small and should not wait to be sent together; where this is refused, they only come later.
            let _ = stream.set_nodelay(true);
            let watcher = self.graceful.watcher();
            let (router, tls, hub) = (self.router.clone(), self.tls.clone(), self.hub.clone());
            let is_proxy = hub.shared.config.trusted_proxies.iter().any(|network| network.contains(peer));
            let visit = Arc::new(self.known.open(peer, is_proxy));
            tokio::spawn(async move {
                hub.shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                tokio::select! {
                    ended = connection(&hub, stream, tls, (router, visit.clone()), watcher) => {
                        if let Err(error) = ended {
                            tracing::debug!(%error, "a connection ended");
                        }
                    }
                    () = visit.left() => {
                        hub.shared.counters.left_connections.fetch_add(1, Ordering::Relaxed);
                    }
                }
                hub.shared.counters.connections.fetch_sub(1, Ordering::Relaxed);
                drop(permit);
            });
        }
    }
}

/// How many connections there may be: each needs a file descriptor, and so do the files that are read and written.
fn connections(wanted: usize) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    let most = files.saturating_sub(OTHER_FILES).max(files / 2).max(2);
    // A few connections less than the default are nobody's trouble; a hub of a lab with half of them is.
    if most < wanted / 2 {
        tracing::warn!(
            most,
            wanted,
            "the limit on open files allows fewer connections than wanted: raise it (ulimit -Hn)"
        );
    } else if most < wanted {
        tracing::info!(most, wanted, "the limit on open files allows fewer connections than wanted");
    }
    wanted.min(most).max(1)
}

async fn connection(
    hub: &Hub,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    (router, visit): (axum::Router, Arc<Visit>),
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let patience = hub.shared.config.patience;
    // Each request knows who is connected.
    let service = TowerToHyperService::new(MapRequest::new(router, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(visit.clone());
        request
    }));
    let mut builder = http1::Builder::new();
    // The time for the head of a request, and so also for the next one on the same connection.
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(64 << 10);
    match tls {
        None => {
            let io = TokioIo::new(TimeoutStream::new(stream, patience));
            watcher.watch(builder.serve_connection(io, service)).await?;
        }
        Some(tls) => {
            let stream = tokio::time::timeout(patience, tls.accept(stream)).await??;
            let io = TokioIo::new(TimeoutStream::new(stream, patience));
            watcher.watch(builder.serve_connection(io, service)).await?;
        }
    }
    Ok(())
}

/// A connection that ends with an error when the other side does not take what is written.
struct TimeoutStream<S> {
    inner: S,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> TimeoutStream<S> {
    fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience, stuck: None }
    }

    fn wait<T>(&mut self, context: &mut Context, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stuck = None;
            return outcome;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        pin!(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = pin!(&mut self.inner).poll_write(context, bytes);
        self.wait(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        bytes: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        let outcome = pin!(&mut self.inner).poll_write_vectored(context, bytes);
        self.wait(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        let outcome = pin!(&mut self.inner).poll_flush(context);
        self.wait(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        let outcome = pin!(&mut self.inner).poll_shutdown(context);
        self.wait(context, outcome)
    }
}
