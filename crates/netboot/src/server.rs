//! The HTTP server: kernel, initramfs, root with ranges, boot loaders, and reports from machines.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use axum::routing::post;
use axum::{Router, serve};
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::error::NetbootError;
use crate::event::{NetbootEvent, Step};
use crate::image::{INDEX, Image, ROOT};
use crate::order::{ORDER, ReadOrder};
use crate::script::{self, INITRAMFS, KERNEL, REPORT, RootTransfer, SCRIPT};
use transfer::range::{ContentRange, RequestedRange};

/// Bytes that are read from a file at once.
const CHUNK: usize = 256 << 10;

/// The header by which a machine tells that it fetches in advance, and its value (Fetch Standard, "Sec-Purpose").
const PURPOSE: &str = "sec-purpose";
const PREFETCH: &str = "prefetch";

/// The longest accepted report, in bytes.
const REPORT_LENGTH: usize = 16 << 10;

/// The content to serve.
pub struct Content {
    /// Small files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Path of the compressed root. It is opened once: machines that read it when needed go on with it if another one takes
    /// its place.
    pub root: PathBuf,
}

impl Content {
    /// The content for machines that start from an image and report how they do, with an iPXE script for the address under
    /// which they reach the server.
    ///
    /// # Errors
    /// If the image cannot be read, or the kernel command line cannot hold one of the `words`.
    pub fn of_image(image: &Image, base: &str, transfer: RootTransfer, words: &[String]) -> Result<Self, NetbootError> {
        let line = script::command_line(image, base, transfer, true, words)?;
        let kernel = image.directory.join("vmlinuz");
        let files = BTreeMap::from([
            (SCRIPT.to_owned(), script::ipxe(base, &line).into_bytes()),
            (KERNEL.to_owned(), std::fs::read(&kernel).map_err(NetbootError::io("reading", &kernel))?),
            (INITRAMFS.to_owned(), image.initramfs()?),
            (INDEX.to_owned(), image.index.clone()),
        ]);
        Ok(Self { files, root: image.root.clone() })
    }
}

struct Shared {
    files: BTreeMap<String, Bytes>,
    root: std::fs::File,
    /// In which order machines read the root; `None` if it has no index.
    order: Option<ReadOrder>,
    events: Mutex<Sender<NetbootEvent>>,
    /// How much of the root each machine got.
    sent: Mutex<BTreeMap<String, Sent>>,
}

/// How much of the root a machine got.
#[derive(Debug, Default)]
struct Sent {
    /// The last reported tenth.
    told: Option<u64>,
    /// Bytes of single parts.
    parts: u64,
}

/// A running server, on threads of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// Starts to serve on a socket.
    ///
    /// # Errors
    /// If threads cannot be started or the socket cannot be used.
    pub fn start(socket: TcpListener, content: Content, events: Sender<NetbootEvent>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let order = content.files.get(INDEX).and_then(|index| ReadOrder::open(index, &content.root));
        let files = content.files.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes))).collect();
        let (root, events) = (std::fs::File::open(&content.root)?, Mutex::new(events));
        let shared = Arc::new(Shared { files, root, order, events, sent: Mutex::default() });
        let app = Router::new()
            .route(&format!("/{REPORT}"), post(report))
            .fallback(file)
            .layer(DefaultBodyLimit::max(REPORT_LENGTH))
            .with_state(shared);
        let socket = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(socket)?
        };
        // It ends with the runtime; only an error of the socket could end it before, and none is known.
        runtime.spawn(async move { serve(socket, app.into_make_service_with_connect_info::<SocketAddr>()).await });
        Ok(Self { address, _runtime: runtime })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Shared {
    fn tell(&self, host: &str, step: Step) {
        // The receiver is gone: the program is about to end.
        drop(
            self.events
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .send(NetbootEvent { host: host.to_owned(), step }),
        );
    }

    /// Reports each tenth once.
    fn sent(&self, host: &str, percent: u64) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let tenth = percent / 10;
        if sent.entry(host.to_owned()).or_default().told.replace(tenth) != Some(tenth) {
            drop(sent);
            self.tell(host, Step::Root { percent: tenth * 10 });
        }
    }

    /// Counts a part of the root that a machine reads; returns how much of it the machine has got, in percent.
    fn part(&self, host: &str, bytes: u64, length: u64) -> u64 {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = &mut sent.entry(host.to_owned()).or_default().parts;
        *parts = parts.saturating_add(bytes);
        // Parts that came damaged are sent again.
        percent(*parts, length).min(100)
    }

    /// A machine starts anew.
    fn begins(&self, host: &str) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }
}

async fn report(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: String,
) -> StatusCode {
    // The text is shown on a terminal and must not control it.
    let text: String = body.chars().filter(|char| !char.is_control() || *char == '\n').collect();
    let text = text.trim_end().to_owned();
    let step = if text.starts_with("ready") { Step::Ready { text } } else { Step::Failed { text } };
    if let Some(order) = &shared.order {
        order.save();
    }
    shared.tell(&host(peer.ip()), step);
    StatusCode::NO_CONTENT
}

async fn file(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let host = host(peer.ip());
    let name = request.uri().path().trim_start_matches('/');
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let only_head = request.method() == Method::HEAD;
    if name == ROOT {
        return root(shared, host, request.headers(), only_head).await.unwrap_or_else(|_| plain(StatusCode::NOT_FOUND));
    }
    let order = || shared.order.as_ref().filter(|_| name == ORDER)?.to_bytes().map(Bytes::from);
    let Some(bytes) = shared.files.get(name).cloned().or_else(order) else { return plain(StatusCode::NOT_FOUND) };
    if !only_head && name != ORDER {
        if name == INDEX {
            shared.begins(&host);
        }
        shared.tell(
            &host,
            match name {
                SCRIPT => Step::Script,
                KERNEL => Step::Kernel,
                INITRAMFS => Step::Initramfs,
                INDEX => Step::RootIndex,
                other => Step::Loader { file: other.to_owned() },
            },
        );
    }
    // UEFI's HTTP boot sends HEAD first, and checks type and length.
    let length = bytes.len();
    let kind = if name.ends_with(".efi") { "application/efi" } else { "application/octet-stream" };
    let body = if only_head { Body::empty() } else { Body::from(bytes) };
    let response = Response::builder().header(header::CONTENT_TYPE, kind).header(header::CONTENT_LENGTH, length);
    response.body(body).unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}

async fn root(shared: Arc<Shared>, host: String, headers: &HeaderMap, only_head: bool) -> io::Result<Response<Body>> {
    // Opened anew by its descriptor, each request has a position of its own.
    let mut file = File::open(format!("/proc/self/fd/{}", shared.root.as_raw_fd())).await?;
    let metadata = file.metadata().await?;
    let length = metadata.len();
    // Ranges have a meaning for GET only (RFC 9110, section 14.2).
    let range = headers.get(header::RANGE).filter(|_| !only_head).and_then(|value| value.to_str().ok());
    let wanted = range.map_or(RequestedRange::All, |value| RequestedRange::parse(value, length));
    // The file is replaced as a whole, so its time distinguishes versions.
    let changed = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut response = Response::builder()
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, "application/zstd")
        .header(header::ETAG, format!("\"{length:x}-{changed:x}\""));
    let range = match wanted {
        RequestedRange::All => 0..length,
        RequestedRange::Part(range) => {
            let part = ContentRange::part(&range, length).to_string();
            response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, part);
            range
        }
        RequestedRange::Nothing => {
            let none = ContentRange::unsatisfied(length).to_string();
            let response = response.status(StatusCode::RANGE_NOT_SATISFIABLE).header(header::CONTENT_RANGE, none);
            return response.body(Body::empty()).map_err(io::Error::other);
        }
    };
    response = response.header(header::CONTENT_LENGTH, range.end.saturating_sub(range.start));
    if only_head {
        return response.body(Body::empty()).map_err(io::Error::other);
    }
    file.seek(SeekFrom::Start(range.start)).await?;
    // One that goes on asks for all that follows.
    let is_part = range.end < length;
    if is_part {
        let is_needed_now = headers.get(PURPOSE).is_none_or(|purpose| purpose != PREFETCH);
        if let Some(order) = shared.order.as_ref().filter(|_| is_needed_now) {
            order.read(range.start, range.end - range.start);
        }
        shared.sent(&host, shared.part(&host, range.end - range.start, length));
    } else {
        if range.start > 0 {
            shared.tell(&host, Step::Resumed { percent: percent(range.start, length) });
        }
        shared.sent(&host, percent(range.start, length));
    }
    let chunks = stream::try_unfold((file, range.start), move |(mut file, at)| {
        let (shared, host) = (Arc::clone(&shared), host.clone());
        async move {
            let left = usize::try_from(range.end.saturating_sub(at)).unwrap_or(CHUNK);
            let mut buffer = vec![0; CHUNK.min(left)];
            let count = file.read(&mut buffer).await?;
            buffer.truncate(count);
            let at = at.saturating_add(count as u64);
            if !is_part {
                shared.sent(&host, percent(at, length));
            }
            let next = (count > 0).then(|| (Bytes::from(buffer), (file, at)));
            io::Result::Ok(next)
        }
    });
    response.body(Body::from_stream(chunks)).map_err(io::Error::other)
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100) / whole.max(1)
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A machine's name for people: its hardware address if the kernel knows it (`/proc/net/arp`, proc(5)).
pub fn host(address: IpAddr) -> String {
    let table = std::fs::read_to_string("/proc/net/arp").unwrap_or_default();
    let address = address.to_string();
    let found = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut found = found.filter(|words| words.first() == Some(&address.as_str()));
    let mac = found.find_map(|words| words.get(3).map(|mac| (*mac).to_owned()));
    mac.filter(|mac| mac != "00:00:00:00:00:00").unwrap_or(address)
}

#[cfg(test)]
mod tests;
