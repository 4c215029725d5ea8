//! [`Name`]: a domain name.

use std::fmt;

use super::error::MessageError;

/// Longest label and longest name, in bytes on the wire (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;
const LONGEST: usize = 255;

/// A domain name: labels of any bytes, which are compared without regard to the case of ASCII letters (RFC 1035,
/// section 2.3.3; RFC 6762, section 16).
#[derive(Debug, Clone, Default, Eq)]
pub struct Name {
    labels: Vec<Vec<u8>>,
}

impl Name {
    /// Makes a name from labels, the host's first.
    ///
    /// # Errors
    /// If a label is empty or too long, or the name is too long.
    pub fn new<L: AsRef<[u8]>>(labels: impl IntoIterator<Item = L>) -> Result<Self, MessageError> {
        let labels: Vec<_> = labels.into_iter().map(|label| label.as_ref().to_vec()).collect();
        let length: usize = labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
        let good = labels.iter().all(|label| (1..=LONGEST_LABEL).contains(&label.len()));
        if good && length <= LONGEST { Ok(Self { labels }) } else { Err(MessageError::Name) }
    }

    /// Parses text with dots between the labels, and perhaps one at the end.
    ///
    /// # Errors
    /// As [`Name::new`].
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        Self::new(text.strip_suffix('.').unwrap_or(text).split('.'))
    }

    /// Puts a label before another name: `hub` and `_rocbed._tcp.local` make `hub._rocbed._tcp.local`.
    ///
    /// # Errors
    /// As [`Name::new`].
    pub fn below(label: &[u8], parent: &Self) -> Result<Self, MessageError> {
        Self::new(std::iter::once(label).chain(parent.labels.iter().map(Vec::as_slice)))
    }

    /// Its labels, the host's first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.labels.iter().map(Vec::as_slice)
    }

    /// The first label, if the name is directly below `parent`.
    pub fn label_below(&self, parent: &Self) -> Option<&[u8]> {
        let (first, rest) = self.labels.split_first()?;
        same(rest, &parent.labels).then_some(first.as_slice())
    }

    /// Encodes it without compression (RFC 1035, section 3.1).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for label in &self.labels {
            // No label is longer than 63.
            out.push(label.len() as u8);
            out.extend_from_slice(label);
        }
        out.push(0);
    }

    /// Parses the name at `at` (RFC 1035, section 4.1.4); returns the offset of its end. Each pointer has to point
    /// further back than the one before, so that no packet can make a loop.
    pub(super) fn read(packet: &[u8], at: usize) -> Result<(Self, usize), MessageError> {
        let (mut labels, mut length) = (Vec::new(), 1);
        let (mut here, mut end, mut barrier) = (at, None, at);
        loop {
            let first = *packet.get(here).ok_or(MessageError::Short)?;
            match first >> 6 {
                0 if first == 0 => return Ok((Self { labels }, end.unwrap_or(here + 1))),
                0 => {
                    let label = packet.get(here + 1..here + 1 + usize::from(first)).ok_or(MessageError::Short)?;
                    length += label.len() + 1;
                    if length > LONGEST {
                        return Err(MessageError::Name);
                    }
                    labels.push(label.to_vec());
                    here += 1 + label.len();
                }
                3 => {
                    let second = *packet.get(here + 1).ok_or(MessageError::Short)?;
                    let target = usize::from(first & 0x3f) << 8 | usize::from(second);
                    if target >= barrier {
                        return Err(MessageError::Name);
                    }
                    end = end.or(Some(here + 2));
                    (here, barrier) = (target, target);
                }
                _ => return Err(MessageError::Name),
            }
        }
    }
}

fn same(one: &[Vec<u8>], other: &[Vec<u8>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.eq_ignore_ascii_case(other))
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        same(&self.labels, &other.labels)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, label) in self.labels.iter().enumerate() {
            let dot = if number == 0 { "" } else { "." };
            write!(f, "{dot}{}", String::from_utf8_lossy(label).escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case() -> Result<(), MessageError> {
        let parent = Name::parse("_Rocbed._tcp.LOCAL.")?;
        let name = Name::below("hub in room 4".as_bytes(), &parent)?;
        assert_eq!(name.label_below(&Name::parse("_rocbed._tcp.local")?), Some(&b"hub in room 4"[..]));
        assert_eq!(parent, Name::parse("_rocbed._tcp.local")?);
        assert_eq!(name.label_below(&Name::parse("local")?), None);
        assert_eq!(name.to_string(), "hub in room 4._Rocbed._tcp.LOCAL");
        Ok(())
    }

    #[test]
    fn pointers_lead_back_only() {
        // `a.local` at 0, `b` and a pointer to `local` at 9, a pointer to itself at 13.
        let packet = b"\x01a\x05local\0\x01b\xc0\x02\xc0\x0d";
        let read = |at| Name::read(packet, at).map(|(name, end)| (name.to_string(), end));
        assert_eq!(read(0), Ok(("a.local".into(), 9)));
        assert_eq!(read(9), Ok(("b.local".into(), 13)));
        assert_eq!(read(13), Err(MessageError::Name));
        assert_eq!(read(99), Err(MessageError::Short));
        assert_eq!(Name::new([vec![b'a'; 64]]), Err(MessageError::Name));
        assert_eq!(Name::parse("a..b"), Err(MessageError::Name));
    }
}
