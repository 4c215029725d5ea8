//! Checks and normalises the paths of entries.

use crate::{Error, Form, LONGEST_NAME, Rules};

/// Converts `./usr//bin/` to `usr/bin`. A path with `..` is refused; a [plain](Form::Plain) archive may write it in no
/// other way.
pub(crate) fn clean(raw: &[u8], rules: &Rules) -> Result<Vec<u8>, Error> {
    let refused = |why: &str| Error::refused(format!("the path {:?} {why}", shown(raw)));
    let mut path = Vec::with_capacity(raw.len());
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." if rules.form == Form::Plain => return Err(refused("is absolute, or has `.` or empty parts")),
            b"" | b"." => continue,
            b".." => return Err(refused("leads out of it")),
            _ if part.contains(&0) => return Err(refused("has a NUL byte")),
            _ if part.len() > LONGEST_NAME => return Err(refused("has a name that is too long")),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
    }
    if path.len() > rules.path {
        return Err(refused(&format!("has over {} bytes", rules.path)));
    }
    Ok(path)
}

/// A path in an error: not more of it than is useful.
pub(crate) fn shown(path: &[u8]) -> String {
    const MOST: usize = 200;
    let mut text = String::from_utf8_lossy(path.get(..MOST).unwrap_or(path)).into_owned();
    if path.len() > MOST {
        text.push_str("...");
    }
    text
}
