//! The line protocol between autopkgtest and a virtualisation server (`README.virtualisation-server` of autopkgtest).
//!
//! A line consists of words separated by white space; each word is percent-encoded. Everything here is free of side
//! effects.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A request of autopkgtest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Query the server's capabilities.
    Capabilities,
    /// Make a testbed.
    Open,
    /// Restore the testbed to its state after opening.
    Revert,
    /// Restart the testbed, with its files as they are.
    Reboot {
        /// A test restarts it itself: only prepare for that, and wait.
        prepare_only: bool,
    },
    /// Remove the testbed.
    Close,
    /// Query the command that runs others in the testbed.
    PrintExecuteCommand,
    /// Copy between host and testbed.
    Copy(Copy),
    /// Open a shell in the testbed for the user.
    Shell {
        /// The working directory.
        directory: OsString,
        /// `NAME=value` to add to the environment.
        environment: Vec<OsString>,
    },
    /// A failure occurred; the server may log details.
    DebugFailure,
    /// End the session.
    Quit,
}

/// A requested copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Direction of the copy.
    pub direction: Direction,
    /// Whether one file or the contents of a directory are copied.
    pub what: What,
    /// Path to copy from, in the testbed or on the host.
    pub source: OsString,
    /// Path to copy to, in the testbed or on the host.
    pub destination: OsString,
}

/// Direction of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the host to the testbed.
    Down,
    /// From the testbed to the host.
    Up,
}

/// Object of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A regular file.
    File,
    /// A directory's contents.
    Directory,
}

/// Reason why a line is not a valid request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The line is empty.
    #[error("empty commands are not permitted")]
    Empty,
    /// The server does not have this command.
    #[error("unknown command `{0}'")]
    Unknown(String),
    /// The command has too few or too many words.
    #[error("the command `{0}' takes {1} arguments")]
    Arguments(String, &'static str),
    /// A path is empty.
    #[error("{0} paths must be nonempty")]
    EmptyPath(&'static str),
    /// Only one of the paths ends with a slash.
    #[error("{0} paths must agree about directoryness (presence or absence of trailing /)")]
    Directoryness(&'static str),
}

impl Request {
    /// Parses a line, with or without its line end.
    pub fn parse(line: &[u8]) -> Result<Self, BadRequest> {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let name = words.next().ok_or(BadRequest::Empty)?;
        let arguments: Vec<Vec<u8>> = words.map(unquote).collect();
        let plain = |request| match arguments.len() {
            0 => Ok(request),
            _ => Err(BadRequest::Arguments(String::from_utf8_lossy(name).into_owned(), "no")),
        };
        match name {
            b"capabilities" => plain(Self::Capabilities),
            b"open" => plain(Self::Open),
            b"revert" => plain(Self::Revert),
            b"reboot" => match arguments.as_slice() {
                [] => Ok(Self::Reboot { prepare_only: false }),
                [word] if word == b"prepare-only" => Ok(Self::Reboot { prepare_only: true }),
                _ => Err(BadRequest::Arguments("reboot".into(), "no, or `prepare-only',")),
            },
            b"close" => plain(Self::Close),
            b"print-execute-command" => plain(Self::PrintExecuteCommand),
            b"auxverb_debug_fail" | b"auxverb-debug-fail" => plain(Self::DebugFailure),
            b"quit" => plain(Self::Quit),
            b"copydown" => copy("copydown", Direction::Down, arguments),
            b"copyup" => copy("copyup", Direction::Up, arguments),
            b"shell" => {
                let mut arguments = arguments.into_iter().map(OsString::from_vec);
                let directory = arguments.next().ok_or(BadRequest::Arguments("shell".into(), "one or more"))?;
                Ok(Self::Shell { directory, environment: arguments.collect() })
            }
            _ => Err(BadRequest::Unknown(String::from_utf8_lossy(name).into_owned())),
        }
    }
}

fn copy(name: &'static str, direction: Direction, arguments: Vec<Vec<u8>>) -> Result<Request, BadRequest> {
    let Ok([source, destination]) = <[Vec<u8>; 2]>::try_from(arguments) else {
        return Err(BadRequest::Arguments(name.into(), "two"));
    };
    if source.is_empty() || destination.is_empty() {
        return Err(BadRequest::EmptyPath(name));
    }
    let what = match (source.ends_with(b"/"), destination.ends_with(b"/")) {
        (true, true) => What::Directory,
        (false, false) => What::File,
        _ => return Err(BadRequest::Directoryness(name)),
    };
    let (source, destination) = (OsString::from_vec(source), OsString::from_vec(destination));
    Ok(Request::Copy(Copy { direction, what, source, destination }))
}

/// Decodes `%XX`. A percent sign without two hexadecimal digits is kept, as autopkgtest does.
pub fn unquote(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, end @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = end;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn digit(character: u8) -> u8 {
    (character as char).to_digit(16).map_or(0, |digit| digit as u8)
}

/// Percent-encodes everything except letters, digits and `_.-~/`.
pub fn quote(bytes: &[u8]) -> String {
    let mut word = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' | b'/' => word.push(*byte as char),
            _ => {
                const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
                word.push('%');
                word.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)] as char));
            }
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_requests() {
        assert_eq!(Request::parse(b"open\n"), Ok(Request::Open));
        assert_eq!(Request::parse(b"  quit  \r\n"), Ok(Request::Quit));
        assert_eq!(
            Request::parse(b"copydown /host/a%20dir/ /tmp/x/"),
            Ok(Request::Copy(Copy {
                direction: Direction::Down,
                what: What::Directory,
                source: "/host/a dir/".into(),
                destination: "/tmp/x/".into(),
            }))
        );
        assert_eq!(
            Request::parse(b"shell /tmp A%3Db"),
            Ok(Request::Shell { directory: "/tmp".into(), environment: vec!["A=b".into()] })
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_line() {
        let message = |line: &str| Request::parse(line.as_bytes()).unwrap_err().to_string();
        assert_eq!(message(""), "empty commands are not permitted");
        assert_eq!(message("dance"), "unknown command `dance'");
        assert_eq!(message("open now"), "the command `open' takes no arguments");
        assert_eq!(message("copyup /a"), "the command `copyup' takes two arguments");
        assert_eq!(
            message("copyup /a/ /b"),
            "copyup paths must agree about directoryness (presence or absence of trailing /)"
        );
    }

    #[test]
    fn a_percent_sign_alone_stands_for_itself() {
        assert_eq!(unquote(b"100%"), b"100%");
        assert_eq!(unquote(b"%zz%2"), b"%zz%2");
        assert_eq!(unquote(b"%41%e2%82%ac"), "A\u{20ac}".as_bytes());
    }

    proptest! {
        #[test]
        fn quoting_is_undone_by_unquoting(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let quoted = quote(&bytes);
            prop_assert!(quoted.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
            prop_assert_eq!(unquote(quoted.as_bytes()), bytes);
        }

        #[test]
        fn any_line_is_a_request_or_an_error(line in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = Request::parse(&line);
        }

        #[test]
        fn paths_arrive_as_they_were_sent(source in "/[^/\0]{1,20}", destination in "/[^/\0]{1,20}") {
            let line = format!("copyup {} {}\n", quote(source.as_bytes()), quote(destination.as_bytes()));
            let request = Request::parse(line.as_bytes()).unwrap();
            let copy = Copy {
                direction: Direction::Up, what: What::File, source: source.into(), destination: destination.into(),
            };
            prop_assert_eq!(request, Request::Copy(copy));
        }
    }
}
