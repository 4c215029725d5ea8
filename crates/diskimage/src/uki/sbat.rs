//! SBAT: the generation numbers of a program's components, so that vulnerable ones can be revoked by number (shim's
//! SBAT.md). An EFI program has one section of it, and a unified kernel image contains several components.

use super::UkiError;

/// The first line: the format itself is a component.
const FORMAT: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md";

/// Merges several SBAT texts: each line once, the format's line first.
///
/// `sources` are the texts with their origin for messages; a text may be followed by zeros.
pub(super) fn merge(sources: &[(&'static str, &[u8])]) -> Result<String, UkiError> {
    let mut lines = vec![FORMAT];
    for (source, bytes) in sources {
        let error = || UkiError::Sbat(source);
        let text = std::str::from_utf8(bytes).map_err(|_| error())?.trim_end_matches('\0');
        let mut rest = text.lines().filter(|line| !line.trim().is_empty());
        // The recipe's lines come without the format's.
        if *source != RECIPE && !rest.next().is_some_and(|line| line.starts_with("sbat,")) {
            return Err(error());
        }
        for line in rest {
            if !lines.contains(&line) && !line.starts_with("sbat,") {
                lines.push(line);
            }
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// Origin of the lines that need no format line.
pub(super) const RECIPE: &str = "recipe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_sources_are_there_once() {
        let stub = b"sbat,1,SBAT Version,sbat,1,url\nsystemd-stub,1,The systemd Developers,systemd,262,url\n\0\0\0";
        let kernel = b"sbat,1,SBAT Version,sbat,1,url\nlinux,1,Linux Developers,linux,7.2,url\n";
        let own = b"rocbed,1,rocbed,rocbed,1,url\nlinux,1,Linux Developers,linux,7.2,url";
        let merged = merge(&[("stub", stub), ("kernel", kernel), (RECIPE, own)]).unwrap();
        let names: Vec<_> = merged.lines().map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(names, ["sbat", "systemd-stub", "linux", "rocbed"]);
        assert!(merged.ends_with('\n'));
    }

    #[test]
    fn refuses_what_is_no_sbat() {
        assert!(matches!(merge(&[("kernel", b"hello")]), Err(UkiError::Sbat("kernel"))));
        assert!(matches!(merge(&[("stub", b"sbat,\xff")]), Err(UkiError::Sbat("stub"))));
    }
}
