//! Source control files (dsc(5)).

use sha256::Digest;

use crate::deb822::{Comments, Field, Paragraph, Paragraphs};

/// Most files of a source package.
const MOST_FILES: usize = 100;

/// A source package: what unpacking needs of its `.dsc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dsc {
    /// `Format`: `3.0 (quilt)`, for example.
    pub format: String,
    /// `Source`; empty if it is missing.
    pub source: String,
    /// `Version`; empty if it is missing.
    pub version: String,
    /// `Testsuite`: whether the package has tests, and how they are found.
    pub testsuite: Option<String>,
    /// `Checksums-Sha256`.
    pub files: Vec<DscFile>,
}

/// A file of a source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DscFile {
    /// File name, without directory.
    pub name: String,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// A `.dsc` that is not one, or names files that no source package has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DscError {
    /// The syntax is wrong.
    #[error(transparent)]
    Syntax(#[from] crate::deb822::Error),
    /// There are no files with a SHA-256 in it.
    #[error("it has no Checksums-Sha256")]
    NoFiles,
    /// A line of `Checksums-Sha256` is not digest, size and name.
    #[error("`{0}` is not a checksum")]
    NotAChecksum(String),
    /// A name leads out of the directory of the `.dsc`.
    #[error("`{0}` is not a file name")]
    NotAFileName(String),
    /// It names too many files.
    #[error("it names more than {0} files")]
    TooManyFiles(usize),
    /// A field is missing.
    #[error("it has no field {0}")]
    NoField(&'static str),
}

impl Dsc {
    /// Parses a `.dsc`. A signature around it is not checked.
    ///
    /// # Errors
    ///
    /// See [`DscError`].
    pub fn parse(dsc: &[u8]) -> Result<Self, DscError> {
        let text = String::from_utf8_lossy(dsc);
        let paragraph =
            Paragraphs::new(signed_text(&text), Comments::Forbidden).next().transpose()?.unwrap_or_default();
        let files = checksums(&paragraph, MOST_FILES)?;
        let value = |name: &str| paragraph.get(name).map(|value| value.trim().to_owned());
        Ok(Self {
            format: value("Format").unwrap_or_else(|| "1.0".to_owned()),
            source: value("Source").unwrap_or_default(),
            version: value("Version").unwrap_or_default(),
            testsuite: value("Testsuite"),
            files,
        })
    }
}

/// The files of a `.dsc` or `.changes`: `Checksums-Sha256`.
pub(crate) fn checksums(paragraph: &Paragraph, most: usize) -> Result<Vec<DscFile>, DscError> {
    let lines = paragraph.field("Checksums-Sha256").into_iter().flat_map(Field::lines);
    let mut files = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let not_one = || DscError::NotAChecksum(line.to_owned());
        let words: Vec<&str> = line.split_whitespace().collect();
        let [sha256, size, name] = words.as_slice() else { return Err(not_one()) };
        if name.starts_with('.') || name.contains('/') {
            return Err(DscError::NotAFileName((*name).to_owned()));
        }
        if files.len() == most {
            return Err(DscError::TooManyFiles(most));
        }
        let (sha256, size) = (sha256.parse().map_err(|_| not_one())?, size.parse().map_err(|_| not_one())?);
        files.push(DscFile { name: (*name).to_owned(), sha256, size });
    }
    if files.is_empty() {
        return Err(DscError::NoFiles);
    }
    Ok(files)
}

/// The text within a cleartext signature (RFC 9580, section 7), or all of it if there is none.
pub(crate) fn signed_text(text: &str) -> &str {
    let Some(message) = text.trim_start().strip_prefix("-----BEGIN PGP SIGNED MESSAGE-----") else { return text };
    // After the lines about the digest there is an empty one; no field begins with a dash, so no line is escaped.
    let body = message.split_once("\n\n").or_else(|| message.split_once("\r\n\r\n")).map_or("", |(_, body)| body);
    body.split("\n-----BEGIN PGP SIGNATURE-----").next().unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_dsc() {
        let (one, two) = (Digest::of("one"), Digest::of("two"));
        let dsc = format!(
            "Format: 3.0\nChecksums-Sha256:\n {one} 3 hello.tar.xz\n {} 4 hello.debian.tar.xz\nFiles:\n x 3 hello.tar.xz\n",
            two.to_string().to_uppercase()
        );
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{dsc}\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
        );
        let expected = [("hello.tar.xz", one, 3), ("hello.debian.tar.xz", two, 4)];
        let expected = expected.map(|(name, sha256, size)| DscFile { name: name.into(), sha256, size });
        for text in [&dsc, &signed, &signed.replace('\n', "\r\n")] {
            assert_eq!(Dsc::parse(text.as_bytes()).unwrap().files, expected, "{text}");
        }
        assert_eq!(Dsc::parse(dsc.as_bytes()).unwrap().format, "3.0");
        assert_eq!(Dsc::parse(b"Files:\n x 3 hello.tar.xz\n"), Err(DscError::NoFiles));
        assert_eq!(Dsc::parse(b""), Err(DscError::NoFiles));
        for name in ["../../etc/passwd", ".hidden", "a/b"] {
            let text = format!("Checksums-Sha256:\n {} 3 {name}\n", Digest::of("one"));
            assert_eq!(Dsc::parse(text.as_bytes()), Err(DscError::NotAFileName(name.into())));
        }
        let many = format!("Checksums-Sha256:\n{}", format!(" {} 3 x\n", Digest::of("one")).repeat(101));
        assert_eq!(Dsc::parse(many.as_bytes()), Err(DscError::TooManyFiles(100)));
        for bad in ["0a x".to_owned(), "0a 3 x".to_owned(), format!("{one} many x")] {
            let text = format!("Checksums-Sha256:\n {bad}\n");
            assert!(matches!(Dsc::parse(text.as_bytes()), Err(DscError::NotAChecksum(_))), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(Format|Checksums-Sha256|-----BEGIN PGP SIGN|:| |\\n|a|#|\\PC){0,40}") {
            let _ = Dsc::parse(text.as_bytes());
        }
    }
}
