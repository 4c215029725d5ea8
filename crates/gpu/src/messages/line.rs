//! [`Record`]: one message of the kernel's log, parsed from any form of log.

use crate::address::PciAddress;

/// A message, and the information on its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'t> {
    /// The message, without time, priority and caller.
    pub(crate) message: &'t str,
    /// Whether the kernel itself wrote it; `None` if the form does not tell.
    pub(crate) of_kernel: Option<bool>,
    /// Its level, 0 to 7 (syslog(2)): 3 is an error.
    pub(crate) level: Option<u8>,
    /// Whether it has the form of `/dev/kmsg`, whose fields only the kernel writes.
    pub(crate) of_kmsg: bool,
    /// The device in the field `DEVICE=`.
    pub(crate) device: Option<PciAddress>,
}

impl<'t> Record<'t> {
    /// Parses a record of `/dev/kmsg` with its fields (kernel Documentation/ABI/testing/dev-kmsg), or a line of
    /// dmesg(1) with any of its options, of `journalctl -k`, or of a pstore dump.
    pub(crate) fn read(text: &'t str) -> Self {
        let (line, fields) = text.split_once('\n').unwrap_or((text, ""));
        if let Some((priority, message)) = kmsg(line) {
            let device = fields.lines().find_map(|field| field.strip_prefix(" DEVICE=+pci:")?.trim().parse().ok());
            return Self {
                message: message.trim(),
                of_kernel: Some(priority >> 3 == 0),
                level: Some((priority & 7) as u8),
                of_kmsg: true,
                device,
            };
        }
        let plain = |message: &'t str, of_kernel, level| Self {
            message: without_times(message).trim(),
            of_kernel,
            level,
            of_kmsg: false,
            device: None,
        };
        if let Some((facility, level, message)) = decoded(line) {
            return plain(message, Some(facility == "kern"), level);
        }
        if let Some((priority, message)) = syslog(line) {
            return plain(message, Some(priority >> 3 == 0), Some((priority & 7) as u8));
        }
        plain(journal(line).unwrap_or(line), None, None)
    }
}

/// Splits a log into records: a line each, with the following lines of fields for `/dev/kmsg`.
pub(crate) fn records(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = line_end(rest, 0);
        if kmsg(rest.get(..end).unwrap_or_default()).is_some() {
            while rest.as_bytes().get(end) == Some(&b' ') {
                end = line_end(rest, end);
            }
        }
        let (record, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(record.trim_end_matches('\n'))
    })
}

fn line_end(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes().get(from..).unwrap_or_default();
    memchr::memchr(b'\n', bytes).map_or(text.len(), |at| from + at + 1)
}

/// `PRIORITY,SEQUENCE,TIME,FLAGS[,...];MESSAGE`
fn kmsg(line: &str) -> Option<(u32, &str)> {
    let (head, message) = line.split_once(';')?;
    let mut fields = head.split(',');
    let priority = fields.next()?.parse().ok()?;
    let _sequence: u64 = fields.next()?.parse().ok()?;
    let _time: u64 = fields.next()?.parse().ok()?;
    fields.next()?;
    Some((priority, message))
}

/// `kern  :err   : MESSAGE`, as `dmesg -x` writes it.
fn decoded(line: &str) -> Option<(&str, Option<u8>, &str)> {
    const FACILITIES: [&str; 12] =
        ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];
    const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
    let (facility, rest) = line.split_once(':')?;
    let (level, message) = rest.split_once(':')?;
    let facility = facility.trim_end();
    if !FACILITIES.contains(&facility) && !facility.starts_with("local") {
        return None;
    }
    let level = LEVELS.iter().position(|name| *name == level.trim_end())?;
    Some((facility, u8::try_from(level).ok(), message.strip_prefix(' ').unwrap_or(message)))
}

/// `<PRIORITY>MESSAGE`, as `dmesg -r` and pstore write it.
fn syslog(line: &str) -> Option<(u32, &str)> {
    let (priority, message) = line.strip_prefix('<')?.split_once('>')?;
    Some((priority.parse().ok()?, message))
}

/// `TIME HOST kernel: MESSAGE`, as `journalctl -k` writes it. Only the words of a time and a host name may precede it.
fn journal(line: &str) -> Option<&str> {
    let at = line.find(" kernel: ")?;
    let head = line.get(..at)?;
    let has_time = head.bytes().filter(|byte| *byte == b':').count() >= 2 || head.contains('T');
    (at < 96 && head.split_whitespace().count() <= 6 && has_time && head.as_bytes().first()?.is_ascii_alphanumeric())
        .then(|| line.get(at + " kernel: ".len()..))?
}

/// Skips `[   98.7]`, `[Tue Nov 24 10:11:12 2026]`, `[  +0.000012]`, a time of ISO 8601, and `[  T123]`.
fn without_times(line: &str) -> &str {
    let mut rest = line.trim_start();
    let iso = |word: &str| {
        let bytes = word.as_bytes();
        bytes.len() >= 19 && bytes.get(4) == Some(&b'-') && bytes.get(10) == Some(&b'T') && bytes.get(13) == Some(&b':')
    };
    if let Some((word, after)) = rest.split_once(' ')
        && iso(word)
    {
        rest = after;
    }
    // A time, and the writer.
    for _ in 0..2 {
        let bracket = rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match bracket {
            Some((inside, after)) if is_time(inside) || is_caller(inside) => rest = after,
            _ => break,
        }
    }
    rest
}

fn is_time(text: &str) -> bool {
    const BEGINNINGS: [&str; 19] = [
        "Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun ", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
        "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds =
        !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b' ' | b'+' | b'<' | b'>'));
    seconds || text.contains(':') && BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

fn is_caller(text: &str) -> bool {
    text.trim()
        .strip_prefix(['T', 'C'])
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_log_is_read() {
        let table = [
            "3,1207,98765432,-;amdgpu: x",
            "3,1207,98765432,c,caller=T12;amdgpu: x",
            "[  98.765432] amdgpu: x",
            "[Tue Nov 24 10:11:12 2026] amdgpu: x",
            "[Nov24 10:11] amdgpu: x",
            "[  +0.000012] amdgpu: x",
            "[  98.765432][  T123] amdgpu: x",
            "[  98.765432] [   C0] amdgpu: x",
            "<3>[  98.765432] amdgpu: x",
            "kern  :err   : [  98.765432] amdgpu: x",
            "kern  :err   : [Tue Nov 24 10:11:12 2026] amdgpu: x",
            "kern  :err   : 2026-01-07T10:02:00,234567-06:00 amdgpu: x",
            "2026-01-07T10:02:00,234567-06:00 amdgpu: x",
            "Aug  8 01:33:26 host kernel: amdgpu: x",
            "Aug 08 01:33:26 host kernel: [ 3181.587314] amdgpu: x",
            "2026-08-08T01:33:26+0000 host kernel: amdgpu: x",
            "2026-08-08 01:33:26.123456 host kernel: amdgpu: x",
            "amdgpu: x",
        ];
        for line in table {
            assert_eq!(Record::read(line).message, "amdgpu: x", "{line}");
        }
        assert_eq!(Record::read("[drm] amdgpu: x").message, "[drm] amdgpu: x");
        assert_eq!(Record::read("note: the kernel: x").message, "note: the kernel: x");
    }

    #[test]
    fn who_wrote_a_record_is_known() {
        let of_kernel = |line: &str| Record::read(line).of_kernel;
        assert_eq!(of_kernel("3,1,2,-;x"), Some(true));
        assert_eq!(of_kernel("12,1,2,-;x"), Some(false), "written to /dev/kmsg by a program");
        assert_eq!(of_kernel("user  :warn  : [ 1.0] x"), Some(false));
        assert_eq!(of_kernel("<12>[ 1.0] x"), Some(false));
        assert_eq!(of_kernel("[ 1.0] x"), None);
        let record = Record::read("3,1,2,-;amdgpu 0000:03:00.0: x\n SUBSYSTEM=pci\n DEVICE=+pci:0000:03:00.0");
        assert_eq!(record.device.unwrap().to_string(), "0000:03:00.0");
        assert_eq!((record.message, record.level), ("amdgpu 0000:03:00.0: x", Some(3)));
    }

    #[test]
    fn fields_belong_to_the_record_before() {
        let text = "3,1,2,-;one\n SUBSYSTEM=pci\n DEVICE=x\n4,2,3,-;two\n";
        let found: Vec<_> = records(text).collect();
        assert_eq!(found, ["3,1,2,-;one\n SUBSYSTEM=pci\n DEVICE=x", "4,2,3,-;two"]);
        // In dmesg's output a blank at the beginning is the message's own.
        assert_eq!(records("one\n two\n\nthree").count(), 4);
    }
}
