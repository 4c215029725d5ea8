//! The iPXE script and the kernel's command line.

use crate::error::NetbootError;
use crate::image::{Image, ROOT};

/// Path of the iPXE script on the server.
pub const SCRIPT: &str = "boot.ipxe";
/// Path of the kernel on the server.
pub const KERNEL: &str = "vmlinuz";
/// Path of the initramfs on the server: both archives, concatenated.
pub const INITRAMFS: &str = "initrd.img";
/// Path to which machines report the result of their start.
pub const REPORT: &str = "report";

/// How machines get the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootTransfer {
    /// In parts, when they are read.
    OnDemand,
    /// All of it before they start.
    Whole,
}

/// The kernel's command line for an image that is served at `base` (`http://192.0.2.1:8470`), with further words.
///
/// # Errors
/// [`NetbootError::Word`].
pub fn command_line(
    image: &Image,
    base: &str,
    transfer: RootTransfer,
    report: bool,
    words: &[String],
) -> Result<String, NetbootError> {
    let mut line = image.cmdline.clone();
    line.push_str(&format!(" rocbed.root-url={base}/{ROOT} rocbed.root-sha256={}", image.sha256));
    if transfer == RootTransfer::OnDemand {
        line.push_str(&format!(" rocbed.root-index-sha256={}", image.index_sha256()));
    }
    if report {
        line.push_str(&format!(" rocbed.boot-report={base}/{REPORT}"));
    }
    for word in words {
        if word.is_empty() || word.chars().any(|char| char.is_whitespace() || char.is_control() || char == '"') {
            return Err(NetbootError::Word { word: word.clone() });
        }
        line.push(' ');
        line.push_str(word);
    }
    Ok(line)
}

/// The script (<https://ipxe.org/scripting>). A machine whose kernel cannot be loaded retries by itself.
pub fn ipxe(base: &str, command_line: &str) -> String {
    // `initrd=` is for the kernel's own loader under UEFI, which looks for the file by name.
    format!(
        "#!ipxe\n\
         echo rocbed from {base}\n\
         :start\n\
         imgfree\n\
         kernel {base}/{KERNEL} initrd={INITRAMFS} {command_line} || goto again\n\
         initrd {base}/{INITRAMFS} || goto again\n\
         boot || goto again\n\
         :again\n\
         echo rocbed: that did not work; trying again in 5 s\n\
         sleep 5\n\
         goto start\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            directory: "images/smoke".into(),
            cmdline: "root=UUID=1-2 quiet".into(),
            sha256: [0xab; 32].into(),
            root: "images/smoke/root.img.zst".into(),
            index: b"index".to_vec(),
        }
    }

    #[test]
    fn the_root_is_named_with_its_digest() {
        let words = ["rocbed.hub=http://hub".to_owned()];
        let line = command_line(&image(), "http://192.0.2.1:8470", RootTransfer::Whole, false, &words).unwrap();
        let digest = "ab".repeat(32);
        assert_eq!(
            line,
            format!(
                "root=UUID=1-2 quiet rocbed.root-url=http://192.0.2.1:8470/root.img.zst rocbed.root-sha256={digest} \
                 rocbed.hub=http://hub"
            )
        );
        let script = ipxe("http://192.0.2.1:8470", &line);
        assert!(script.contains("\nkernel http://192.0.2.1:8470/vmlinuz initrd=initrd.img root=UUID=1-2 quiet "));
    }

    #[test]
    fn the_index_is_named_with_its_digest() {
        let line = command_line(&image(), "http://a", RootTransfer::OnDemand, false, &[]).unwrap();
        // printf index | sha256sum
        let digest = "1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6";
        assert!(line.ends_with(&format!(" rocbed.root-index-sha256={digest}")), "{line}");
    }

    #[test]
    fn words_that_would_be_others_are_refused() {
        for word in ["a b", "a\nboot", "a=\"b", ""] {
            let words = [word.to_owned()];
            assert!(command_line(&image(), "http://a", RootTransfer::Whole, true, &words).is_err(), "{word:?}");
        }
    }
}
