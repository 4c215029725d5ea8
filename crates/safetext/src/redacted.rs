//! Removes secrets from text before it is printed.

use std::borrow::Cow;

use crate::NOT_SHOWN;

/// Last words of the names of secrets: `join-token`, `access_token`, `db_password`, `X-Amz-Signature`.
const SECRET_NAMES: [&str; 8] =
    ["token", "password", "passwd", "passphrase", "secret", "signature", "apikey", "api_key"];

/// Schemes of HTTP authentication whose credentials are one word (RFC 6750, RFC 7617).
const AUTH_SCHEMES: [&str; 2] = ["bearer ", "basic "];

/// Prefix of a hub's tokens; the kind and the digits follow.
const HUB_TOKEN: &str = "rocbed-";
const HUB_TOKEN_KINDS: [&str; 3] = ["admin-", "join-", "worker-"];

/// A hub's token has more digits than this.
const TOKEN_DIGITS: usize = 16;

/// Around the label of a PEM text: `-----BEGIN EC PRIVATE KEY-----` (RFC 7468, section 2).
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const PEM_DASHES: &str = "-----";
/// What the labels of private keys have in them.
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Replaces the secrets in a text:
///
/// * user and password of an address (`https://me:secret@host/`, RFC 3986, section 3.2.1);
/// * values of names that end with `token`, `password`, `secret`, `signature` and the like: in queries (`?token=x`), on
///   kernel command lines (`rocbed.join-token=x`), in settings (`token = "x"`);
/// * credentials of an `Authorization` header;
/// * a hub's tokens, wherever they stand;
/// * private keys in PEM, on one line (`\n` escaped) or several, up to their end or that of the text.
///
/// Everything else stays as it is.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((from, to)) = secret_at(text, at).filter(|(from, to)| *from >= copied && to > from) {
            out.push_str(text.get(copied..from).unwrap_or_default());
            out.push_str(NOT_SHOWN);
            (copied, at) = (to, to);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    if copied == 0 && out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Start and end of the secret that is announced by the text at `at`, if there is one.
fn secret_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    match rest.as_bytes().first()? {
        b':' => user_info(rest),
        b'=' => assigned(text.get(..at)?, rest),
        b'b' | b'B' => credentials(text.get(..at)?, rest),
        b'r' => hub_token(rest),
        b'-' => private_key(rest),
        _ => None,
    }
    .map(|(from, to)| (at.saturating_add(from), at.saturating_add(to)))
}

/// Whether a character ends an address.
fn ends_address(char: char) -> bool {
    char.is_whitespace() || char.is_control() || matches!(char, '"' | '\'' | '`' | '<' | '>' | '|')
}

/// The user and password after `://`, up to the authority's last `@`.
fn user_info(rest: &str) -> Option<(usize, usize)> {
    const START: usize = "://".len();
    let end = login_end(rest.strip_prefix("://")?, ends_address)?;
    Some((START, START + end))
}

/// Position of the `@` after user and password, in a text that begins with an address's authority.
fn login_end(text: &str, ends: impl Fn(char) -> bool) -> Option<usize> {
    let address = text.get(..text.find(&ends).unwrap_or(text.len()))?;
    let authority = address.get(..address.find(['/', '?', '#', '\\']).unwrap_or(address.len()))?;
    match authority.rfind('@') {
        Some(end) => Some(end),
        // A `/`, a `#` or a blank in a password should have been percent-encoded. The text after the colon is not a
        // port then.
        None if !authority.starts_with('[') && has_odd_port(authority) => {
            let to = text.find(|char: char| char != ' ' && ends(char)).unwrap_or(text.len());
            text.get(..to)?.rfind('@')
        }
        None => None,
    }
}

/// An address, or text that should be one, without user and password: for names of things, where [`redacted`] would leave a
/// mark. A scheme may be missing, as in a proxy's address.
pub fn without_password(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").map_or((None, address), |(scheme, rest)| (Some(scheme), rest));
    let Some(after) = login_end(rest, |_| false).and_then(|end| rest.get(end + 1..)) else { return address.to_owned() };
    scheme.map_or_else(|| after.to_owned(), |scheme| format!("{scheme}://{after}"))
}

fn has_odd_port(authority: &str) -> bool {
    authority
        .split_once(':')
        .is_some_and(|(_, port)| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// At an `=`: the value after it, if the name before it belongs to a secret.
fn assigned(before: &str, rest: &str) -> Option<(usize, usize)> {
    let name = before.trim_end_matches(' ');
    // A blank before the sign occurs in settings on a line of their own.
    let name = name.get(name.rfind(|char: char| !is_name(char)).map_or(0, |at| at + 1)..)?;
    // `is_name` has excluded non-ASCII characters, so a byte is a character.
    let name = name.to_ascii_lowercase();
    if !SECRET_NAMES.iter().any(|word| name.ends_with(word)) && !matches!(name.as_str(), "sig" | "auth" | "pw" | "pass")
    {
        return None;
    }
    let value = rest.get(1..)?;
    let blanks = value.len() - value.trim_start_matches(' ').len();
    let value = value.get(blanks..).filter(|value| !value.starts_with(NOT_SHOWN))?;
    let quote = value.chars().next().filter(|char| matches!(char, '"' | '\''));
    let (skip, end) = match quote {
        Some(quote) => (1, value.get(1..)?.find(quote).map_or(value.len(), |end| end + 1)),
        None => (
            0,
            value
                .find(|char: char| ends_address(char) || matches!(char, '&' | '#' | ',' | ';' | ')'))
                .unwrap_or(value.len()),
        ),
    };
    let start = 1 + blanks;
    (end > skip).then_some((start + skip, start + end))
}

fn is_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_')
}

/// After `Bearer ` or `Basic `: the next word, if it may be a credential.
fn credentials(before: &str, rest: &str) -> Option<(usize, usize)> {
    if before.ends_with(is_name) {
        return None;
    }
    let scheme = AUTH_SCHEMES
        .iter()
        .find(|scheme| rest.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?;
    let word = rest.get(scheme.len()..).filter(|word| !word.starts_with(NOT_SHOWN))?;
    let word = word.get(..word.find(|char: char| ends_address(char) || char == ',').unwrap_or(word.len()))?;
    // `Bearer TOKEN` and `basic idea` are ordinary text.
    let header = before.trim_end_matches([' ', ':', '"', '\'']).to_ascii_lowercase().ends_with("authorization");
    let odd = word.len() >= TOKEN_DIGITS && word.bytes().any(|byte| byte.is_ascii_digit() || byte == b'=');
    let shouted = word.bytes().all(|byte| byte.is_ascii_uppercase());
    ((header && !shouted || odd) && !word.is_empty()).then(|| (scheme.len(), scheme.len() + word.len()))
}

/// After `-----BEGIN ... PRIVATE KEY-----`: everything up to the matching end.
fn private_key(rest: &str) -> Option<(usize, usize)> {
    let after = rest.strip_prefix(PEM_BEGIN)?;
    let (label, body) = after.split_once(PEM_DASHES)?;
    let is_label = |char: char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == ' ';
    if !label.contains(PRIVATE_KEY) || !label.chars().all(is_label) {
        return None;
    }
    let end = body.find(&format!("{PEM_END}{label}{PEM_DASHES}")).unwrap_or(body.len());
    let start = rest.len() - body.len();
    (body.get(..end) != Some(NOT_SHOWN)).then_some((start, start + end))
}

/// After `rocbed-`: the digits of a hub's token.
fn hub_token(rest: &str) -> Option<(usize, usize)> {
    let after = rest.strip_prefix(HUB_TOKEN)?;
    let kind = HUB_TOKEN_KINDS.iter().find(|kind| after.starts_with(**kind))?;
    let digits = after.get(kind.len()..)?;
    let count = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    let start = HUB_TOKEN.len() + kind.len();
    (count >= TOKEN_DIGITS).then(|| (start, start + count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_cut_out() {
        for (text, expected) in [
            (
                "fetching https://me:pw@mirror.example/debian: 404",
                "fetching https://(not shown)@mirror.example/debian: 404",
            ),
            ("http://token@host", "http://(not shown)@host"),
            ("`http://me:se cret@hub` is not", "`http://(not shown)@hub` is not"),
            ("http://a:b@c@host/x@y", "http://(not shown)@host/x@y"),
            ("http_proxy=\"http://me:p/w#@proxy:3128\"", "http_proxy=\"http://(not shown)@proxy:3128\""),
            ("two: ftp://a:b@h and HTTPS://c@h2.", "two: ftp://(not shown)@h and HTTPS://(not shown)@h2."),
            ("https://h/x.tar?a=1&access_token=s3cret&b=2", "https://h/x.tar?a=1&access_token=(not shown)&b=2"),
            ("https://h/x?X-Amz-Signature=abc#y", "https://h/x?X-Amz-Signature=(not shown)#y"),
            (
                "quiet rocbed.join-token=abc rocbed.hub=http://h",
                "quiet rocbed.join-token=(not shown) rocbed.hub=http://h",
            ),
            ("  join-token = \"a b\" # mine", "  join-token = \"(not shown)\" # mine"),
            ("PASSWORD='x", "PASSWORD='(not shown)"),
            ("Authorization: Basic bWU6cHc=, x", "Authorization: Basic (not shown), x"),
            ("sent bearer 0123456789abcdef0123", "sent bearer (not shown)"),
            ("got rocbed-worker-0123456789abcdef0123456789abcdef.", "got rocbed-worker-(not shown)."),
            (
                "debci-key = \"\"\"\n-----BEGIN EC PRIVATE KEY-----\nMHcC\nAQEE\n-----END EC PRIVATE KEY-----\n\"\"\"\nip = 1",
                "debci-key = \"\"\"\n-----BEGIN EC PRIVATE KEY-----(not shown)-----END EC PRIVATE KEY-----\n\"\"\"\nip = 1",
            ),
            (
                r#"key = "-----BEGIN PRIVATE KEY-----\nMHcC\n-----END PRIVATE KEY-----\n""#,
                r#"key = "-----BEGIN PRIVATE KEY-----(not shown)-----END PRIVATE KEY-----\n""#,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nMHcC\n-----END CERTIFICATE-----\ncut",
                "-----BEGIN PRIVATE KEY-----(not shown)",
            ),
        ] {
            assert_eq!(redacted(text), expected);
            assert_eq!(redacted(expected), expected, "twice is once");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "https://hub.example:8420/jobs/rocrand@gfx1030",
            "http://[::1]:8420/x@y",
            "token-file = \"/home/you/token\"",
            "send `Authorization: Bearer TOKEN`; a worker gets its token when it registers",
            "a bearer of news, a basic idea",
            "rocbed-join-... and rocbed-admin-1",
            "tokens = 7, token= ",
            "mail me@example.org",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "-----BEGIN PRIVATE KEY",
            "a://",
            "",
        ] {
            assert!(matches!(redacted(text), Cow::Borrowed(same) if same == text), "{text}: {}", redacted(text));
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (address, expected) in [
            ("http://me:secret@mirror.lab/debian", "http://mirror.lab/debian"),
            ("http://mirror.lab/debian", "http://mirror.lab/debian"),
            ("http://mirror.lab:80/a@b", "http://mirror.lab:80/a@b"),
            ("http://[::1]:80/a", "http://[::1]:80/a"),
            ("me:sec/ret@proxy:1", "proxy:1"),
            ("http://me:se cr\"et@proxy:1", "http://proxy:1"),
            ("proxy:3128", "proxy:3128"),
            ("", ""),
        ] {
            assert_eq!(without_password(address), expected);
            assert_eq!(without_password(expected), expected, "twice is once");
        }
    }

    proptest! {
        #[test]
        fn a_password_is_never_printed(user in "[a-z]{0,5}",
            // With both characters in it, it cannot be distinguished from a path.
            password in "[a-zA-Z:%+-][a-zA-Z0-9:/#?%+-]{0,8}7s3cr3t7[a-z/:]{0,5}|[a-zA-Z0-9:@%+-]{0,9}7s3cr3t7[a-z@:]{0,5}",
            scheme in "http|https|git|ftp", path in "(/[a-z@]{0,8}){0,2}") {
            let text = format!("{scheme}://{user}:{password}@host.example{path} failed");
            prop_assert!(!redacted(&text).contains("7s3cr3t7"), "{text}: {}", redacted(&text));
            prop_assert!(!without_password(&text).contains("7s3cr3t7"), "{text}: {}", without_password(&text));
        }

        #[test]
        fn any_text_is_taken(text in ".{0,40}|[:/@=?&a-z \"']{0,40}|(-----(BEGIN|END) |PRIVATE KEY-----|token=|[\n a]){0,9}") {
            let once = redacted(&text).into_owned();
            prop_assert_eq!(redacted(&once).into_owned(), once);
        }
    }
}
