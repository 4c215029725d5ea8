//! A proxy in front of a hub in its own process: it kills the hub with SIGKILL at a chosen moment of a chosen request,
//! and restarts it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::crash::Process;

/// The moment at which the hub is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything of the request arrives.
    Before,
    /// After the request's head, before its body.
    Head,
    /// After all but the last byte.
    AllButOneByte,
    /// After the whole request: the hub is processing it.
    Working,
    /// After the hub has answered; the client does not get the answer.
    Answered,
    /// After the client has got a part of the answer.
    PartOfAnswer,
}

pub const MOMENTS: [Moment; 6] =
    [Moment::Before, Moment::Head, Moment::AllButOneByte, Moment::Working, Moment::Answered, Moment::PartOfAnswer];

/// The planned kill: method, part of the path, moment.
type Plan = (&'static str, &'static str, Moment);

/// The proxy.
#[derive(Clone)]
pub struct Guard {
    pub address: String,
    directory: PathBuf,
    hub: String,
    process: Arc<Mutex<Option<Process>>>,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl Guard {
    /// Starts a hub that listens at `hub`, and the proxy in front of it.
    pub fn start(directory: &Path, hub: &str) -> io::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let guard = Self {
            address: format!("http://{}", socket.local_addr()?),
            directory: directory.to_owned(),
            hub: hub.to_owned(),
            process: Arc::new(Mutex::new(Some(Process::start(directory, hub)?))),
            plan: Arc::default(),
        };
        let serving = guard.clone();
        std::thread::spawn(move || {
            for client in socket.incoming().flatten() {
                let guard = serving.clone();
                // Broken connections are expected here.
                std::thread::spawn(move || drop(guard.serve(client)));
            }
        });
        Ok(guard)
    }

    /// Kills the hub, once, at the next request with this method and this text in its path.
    pub fn plan(&self, method: &'static str, path: &'static str, moment: Moment) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((method, path, moment));
    }

    /// Whether the planned kill has happened.
    pub fn has_killed(&self) -> bool {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Ends the hub.
    pub fn stop(&self) {
        drop(self.process.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn kill(&self) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping the process kills it and waits for its end.
        drop(process.take());
        *process = Some(Process::start(&self.directory, &self.hub)?);
        Ok(())
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut hub = self.connect()?;
        loop {
            let Some((head, body)) = message(&mut client)? else { return Ok(()) };
            match self.moment(&head) {
                None => {
                    hub.write_all(&head)?;
                    hub.write_all(&body)?;
                }
                Some(Moment::Before) => return self.kill(),
                Some(Moment::Head) => {
                    hub.write_all(&head)?;
                    return self.kill();
                }
                Some(Moment::AllButOneByte) => {
                    let all = [head, body].concat();
                    hub.write_all(all.get(..all.len() - 1).unwrap_or_default())?;
                    return self.kill();
                }
                Some(moment) => {
                    hub.write_all(&[head, body].concat())?;
                    if moment != Moment::Working {
                        let (head, _) = message(&mut hub)?.unwrap_or_default();
                        if moment == Moment::PartOfAnswer {
                            client.write_all(head.get(..head.len() / 2).unwrap_or_default())?;
                        }
                    }
                    return self.kill();
                }
            }
            let Some((head, body)) = message(&mut hub)? else { return Ok(()) };
            client.write_all(&[head, body].concat())?;
        }
    }

    /// Connects to the hub, which may have just been started.
    fn connect(&self) -> io::Result<TcpStream> {
        for _ in 0..1000 {
            if let Ok(stream) = TcpStream::connect(&self.hub) {
                return Ok(stream);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        TcpStream::connect(&self.hub)
    }

    /// Whether this is the request with the planned kill; true only once.
    fn moment(&self, head: &[u8]) -> Option<Moment> {
        let head = String::from_utf8_lossy(head);
        let (method, path) = head.split_once(' ')?;
        let path = path.split(' ').next()?;
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (wanted, part, moment) = (*plan)?;
        if method != wanted || !path.contains(part) {
            return None;
        }
        *plan = None;
        Some(moment)
    }
}

/// Reads a request or an answer: its head, including the empty line, and its body.
fn message(stream: &mut TcpStream) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Some((head, body)))
}
