//! `copydown` and `copyup`: files and directories between host and testbed.
//!
//! What happens in the testbed is done by a process that has joined it, with the rights of its root; what happens on
//! the host by one that has not. A pipe is all they have in common.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, FileTimes, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use crate::Error;
use crate::enter::join;
use crate::process::{Child, Event, Signals, fork};
use crate::protocol::{Copy, Direction, What};
use crate::server::NAME;
use crate::stream::Entry;

/// Makes a copy; the namespaces are those of the testbed.
pub(crate) fn copy(
    copy: &Copy,
    namespaces: &[BorrowedFd<'_>],
    signals: &Signals,
    timeout: Duration,
) -> Result<(), Error> {
    let (source, destination) = (Path::new(&copy.source), Path::new(&copy.destination));
    let inside = |work: &dyn Fn() -> io::Result<()>| {
        join(namespaces, false).map_err(|error| io::Error::other(error.to_string()))?;
        die_with_server()?; // once more: joining has undone it
        work()
    };
    let children = match (copy.what, copy.direction) {
        (What::File, Direction::Down) => {
            let from = told(File::open(source), "opening", source)?;
            vec![part(copy, || inside(&|| receive_file(&from, destination)))?]
        }
        (What::File, Direction::Up) => {
            let to = told(File::create(destination), "making", destination)?;
            vec![part(copy, || inside(&|| send_file(source, &to)))?]
        }
        (What::Directory, direction) => {
            let (reader, writer) = io::pipe().map_err(Error::step("making a pipe"))?;
            let (reader, writer) = (Cell::new(Some(reader)), Cell::new(Some(writer)));
            let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
            // Each end has to close the other's for either to notice that the other is gone.
            let send = || {
                drop(reader.take());
                let pipe = writer.take().ok_or_else(missing)?;
                let work = || shut_into(source, false).and_then(|()| send_tree(pipe.try_clone()?));
                if direction == Direction::Up { inside(&work) } else { work() }
            };
            let receive = || {
                drop(writer.take());
                let pipe = reader.take().ok_or_else(missing)?;
                let work = || shut_into(destination, true).and_then(|()| receive_tree(pipe.try_clone()?));
                if direction == Direction::Down { inside(&work) } else { work() }
            };
            let receiver = part(copy, receive)?;
            let sender = part(copy, send);
            drop((reader.take(), writer.take()));
            if sender.is_err() {
                receiver.kill();
            }
            vec![receiver, sender?]
        }
    };
    wait_for(&children, signals, timeout)
}

/// Says what failed; the protocol's answer has no room for it.
fn told<T>(result: io::Result<T>, what: &str, path: &Path) -> Result<T, Error> {
    result.map_err(|error| {
        eprintln!("{NAME}: {what} {}: {error}", path.display());
        Error::Copy
    })
}

/// Starts one end of a copy. It dies with the server.
fn part(copy: &Copy, work: impl FnOnce() -> io::Result<()>) -> Result<Child, Error> {
    fork(|| match die_with_server().and_then(|()| work()) {
        Ok(()) => 0,
        Err(error) => {
            let (source, destination) = (Path::new(&copy.source), Path::new(&copy.destination));
            eprintln!("{NAME}: copying {} to {}: {error}", source.display(), destination.display());
            1
        }
    })
    .map_err(Error::step("starting a process"))
}

fn die_with_server() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
}

/// Waits for both ends. One that fails or takes too long ends the other.
fn wait_for(children: &[Child], signals: &Signals, timeout: Duration) -> Result<(), Error> {
    let end = Instant::now() + timeout;
    let mut result = Ok(());
    for child in children {
        if result.is_ok() {
            let left = end.saturating_duration_since(Instant::now());
            result = match signals.wait(std::os::fd::AsFd::as_fd(child), Some(left)) {
                Ok(Event::Ready) => Ok(()),
                Ok(Event::Signal(number)) => Err(Error::Signal(number)),
                Ok(Event::TimedOut) => Err(Error::TimedOut { what: "copying".into(), seconds: timeout.as_secs() }),
                Err(error) => Err(Error::step("waiting for a copy")(error)),
            };
        }
        if result.is_err() {
            child.kill();
        }
        let status = child.wait().map_err(Error::step("waiting for a copy"))?;
        if result.is_ok() && status.and_then(|status| status.exit_status()) != Some(0) {
            result = Err(Error::Copy);
        }
    }
    result
}

/// Writes a file in the testbed. Like `cat` and `chmod +x`: an existing file keeps its owner.
fn receive_file(mut from: &File, destination: &Path) -> io::Result<()> {
    let mut to = File::create(destination)?;
    io::copy(&mut from, &mut to)?;
    if from.metadata()?.mode() & 0o111 != 0 {
        let mode = to.metadata()?.mode() | 0o111;
        to.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn send_file(source: &Path, mut to: &File) -> io::Result<()> {
    io::copy(&mut File::open(source)?, &mut to).map(drop)
}

/// Makes a directory the only one that this process can reach.
fn shut_into(directory: &Path, make: bool) -> io::Result<()> {
    if make && !directory.is_dir() {
        DirBuilder::new().mode(0o755).create(directory)?;
    }
    rustix::process::chdir(directory)?;
    rustix::process::chroot(c".")?;
    Ok(())
}

/// Sends everything in the current directory. Sockets, pipes and devices are left out: they mean nothing elsewhere.
fn send_tree(pipe: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, pipe);
    let mut first_names = HashMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        for entry in fs::read_dir(listed).map_err(about(listed))? {
            let path = directory.join(entry.map_err(about(listed))?.file_name());
            send_entry(&path, &mut out, &mut first_names, &mut directories).map_err(about(&path))?;
        }
    }
    Entry::End.write(&mut out)?;
    out.flush()
}

fn send_entry(
    path: &Path,
    out: &mut impl Write,
    first_names: &mut HashMap<(u64, u64), Vec<u8>>,
    directories: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let (bytes, mode) = (path.as_os_str().as_bytes().to_vec(), metadata.mode() & 0o7777);
    let kind = metadata.file_type();
    if kind.is_dir() {
        directories.push(path.to_owned());
        return Entry::Directory { path: bytes, mode }.write(out);
    }
    if kind.is_symlink() {
        return Entry::Symlink { path: bytes, target: fs::read_link(path)?.into_os_string().into_vec() }.write(out);
    }
    if !kind.is_file() {
        return Ok(());
    }
    if metadata.nlink() > 1 {
        let file = (metadata.dev(), metadata.ino());
        if let Some(target) = first_names.get(&file) {
            return Entry::HardLink { path: bytes, target: target.clone() }.write(out);
        }
        first_names.insert(file, bytes.clone());
    }
    // The size that is announced is what follows, even of a file that is being written to.
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let size = file.metadata()?.len();
    let modified = (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default());
    Entry::File { path: bytes, mode, modified, size }.write(out)?;
    let sent = io::copy(&mut (&file).take(size), out)?;
    io::copy(&mut io::repeat(0).take(size.saturating_sub(sent)), out).map(drop)
}

/// Makes everything that comes through the pipe in the current directory.
fn receive_tree(pipe: impl Read) -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut from = BufReader::with_capacity(1 << 16, pipe);
    let mut modes = Vec::new();
    loop {
        let entry = Entry::read(&mut from)?;
        let path = match &entry {
            Entry::End => break,
            Entry::Directory { path, .. }
            | Entry::File { path, .. }
            | Entry::HardLink { path, .. }
            | Entry::Symlink { path, .. } => PathBuf::from(OsStr::from_bytes(path)),
        };
        receive_entry(entry, &path, &mut from, &mut modes).map_err(about(&path))?;
    }
    // Only now: a directory may be one that nothing can be made in.
    for (path, mode) in modes.into_iter().rev() {
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(about(&path))?;
    }
    Ok(())
}

fn receive_entry(entry: Entry, path: &Path, from: &mut impl Read, modes: &mut Vec<(PathBuf, u32)>) -> io::Result<()> {
    if !matches!(entry, Entry::Directory { .. }) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match entry {
        Entry::Directory { mode, .. } => {
            if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
                DirBuilder::new().mode(0o700).create(path)?;
            }
            modes.push((path.to_owned(), mode & 0o7777));
            Ok(())
        }
        Entry::File { mode, modified: (seconds, nanoseconds), size, .. } => {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            let received = io::copy(&mut from.take(size), &mut file)?;
            if received != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
            file.set_times(FileTimes::new().set_modified(time(seconds, nanoseconds)))
        }
        Entry::HardLink { target, .. } => fs::hard_link(OsStr::from_bytes(&target), path),
        Entry::Symlink { target, .. } => std::os::unix::fs::symlink(OsStr::from_bytes(&target), path),
        Entry::End => Ok(()),
    }
}

fn time(seconds: i64, nanoseconds: u32) -> SystemTime {
    let length = Duration::new(seconds.unsigned_abs(), nanoseconds.min(999_999_999));
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(length)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(length)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn about(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970_survive() {
        assert_eq!(time(1, 5), SystemTime::UNIX_EPOCH + Duration::new(1, 5));
        assert_eq!(time(-1, 0), SystemTime::UNIX_EPOCH - Duration::new(1, 0));
    }
}
