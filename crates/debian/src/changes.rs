//! Uploads: `.changes` files (deb-changes(5)).

use crate::deb822::{Comments, Paragraphs};
use crate::dsc::{DscError, DscFile, checksums, signed_text};

/// Most files of an upload.
const MOST_FILES: usize = 1000;

/// An upload: which packages were built, and their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// `Source`, without a version.
    pub source: String,
    /// `Version` of the source package.
    pub version: String,
    /// `Checksums-Sha256`.
    pub files: Vec<DscFile>,
}

impl Changes {
    /// Parses a `.changes` file. A signature around it is not checked.
    ///
    /// # Errors
    ///
    /// See [`DscError`].
    pub fn parse(changes: &[u8]) -> Result<Self, DscError> {
        let text = String::from_utf8_lossy(changes);
        let mut paragraphs = Paragraphs::new(signed_text(&text), Comments::Forbidden);
        let paragraph = paragraphs.next().transpose()?.unwrap_or_default();
        let field = |name: &'static str| paragraph.get(name).map(str::trim).ok_or(DscError::NoField(name));
        // A source that was only rebuilt has its own version in parentheses.
        let source = field("Source")?.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self { source, version: field("Version")?.to_owned(), files: checksums(&paragraph, MOST_FILES)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha256::Digest;

    #[test]
    fn an_upload_names_its_files() {
        let digest = Digest::of("deb");
        let text = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 1.8\nSource: rocfft (7.2-1)\nBinary: librocfft0\n\
             Architecture: amd64\nVersion: 7.2-1+b1\nChecksums-Sha256:\n {digest} 3 librocfft0_7.2-1+b1_amd64.deb\n\
             Files:\n 0a 3 libs optional librocfft0_7.2-1+b1_amd64.deb\n\n-----BEGIN PGP SIGNATURE-----\n\nabc\n"
        );
        let changes = Changes::parse(text.as_bytes()).unwrap();
        assert_eq!((changes.source.as_str(), changes.version.as_str()), ("rocfft", "7.2-1+b1"));
        let file = DscFile { name: "librocfft0_7.2-1+b1_amd64.deb".into(), sha256: digest, size: 3 };
        assert_eq!(changes.files, [file]);
    }

    #[test]
    fn what_is_no_upload_says_why() {
        assert_eq!(Changes::parse(b""), Err(DscError::NoField("Source")));
        let without = "Source: a\nVersion: 1\n";
        assert_eq!(Changes::parse(without.as_bytes()), Err(DscError::NoFiles));
        let outside = format!("{without}Checksums-Sha256:\n {} 3 ../x.deb\n", Digest::of("x"));
        assert_eq!(Changes::parse(outside.as_bytes()), Err(DscError::NotAFileName("../x.deb".into())));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(Source|Version|Checksums-Sha256|-----BEGIN PGP SIGN|:| |\\n|a|#|\\PC){0,40}") {
            let _ = Changes::parse(text.as_bytes());
        }
    }
}
