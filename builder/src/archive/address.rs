//! Quoting of archive paths for use in URLs.

/// Quotes a path as apt does in URLs, so that servers and caches are asked for the same file by the same name. A `%`
/// in a path stands for itself and does not begin an encoded byte.
pub fn quote(path: &str) -> String {
    // apt's `Acquire::URIEncode` has `+~ `; `#` and `?` would end the path.
    let quoted = |byte: u8| !byte.is_ascii_graphic() || b"%+~#?\"<>\\^`{|}".contains(&byte);
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        if quoted(byte) {
            text.push_str(&format!("%{byte:02x}"));
        } else {
            text.push(char::from(byte));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_pools_are_written_as_apt_writes_them() {
        for (path, expected) in [
            ("pool/main/h/hello/hello_2.10-5_amd64.deb", "pool/main/h/hello/hello_2.10-5_amd64.deb"),
            ("pool/gzip_1%3a1.14-1_amd64.deb", "pool/gzip_1%253a1.14-1_amd64.deb"),
            ("pool/g++_4:15~rc1+b1_amd64.deb", "pool/g%2b%2b_4:15%7erc1%2bb1_amd64.deb"),
            ("my pool/a#b?c.deb", "my%20pool/a%23b%3fc.deb"),
            ("größe.deb", "gr%c3%b6%c3%9fe.deb"),
        ] {
            assert_eq!(quote(path), expected);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_path_names_the_path(path in "\\PC{0,30}") {
            let quoted = quote(&path);
            prop_assert!(quoted.bytes().all(|byte| byte.is_ascii_graphic() && !b"#?+~".contains(&byte)));
            let mut bytes = quoted.bytes();
            let mut decoded = Vec::new();
            while let Some(byte) = bytes.next() {
                let mut digits = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
                decoded.push(if byte == b'%' { digits() * 16 + digits() } else { byte });
            }
            prop_assert_eq!(decoded, path.into_bytes());
        }
    }
}
