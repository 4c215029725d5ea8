//! Addresses of source trees: what a job's `url` may be.

use crate::api::Invalid;

/// Schemes that source trees are fetched by.
const SCHEMES: [&str; 3] = ["https", "http", "git"];
/// Schemes that archives are fetched by.
const ARCHIVE_SCHEMES: [&str; 2] = ["https", "http"];

/// The longest address in bytes.
const LONGEST: usize = 2000;

/// Characters with a meaning in a shell. Addresses can have them percent-encoded.
const NEVER: &str = "'\"`$\\";

/// Checks the address of a source tree. It is fetched by apt and git on workers, and shown to everybody who may look at jobs:
/// so it names a server and no file of the worker, and has no password in it.
///
/// # Errors
/// What is wrong with it and what would be right, without a password.
pub(crate) fn check_source(url: &str) -> Result<(), Invalid> {
    check(
        url,
        "url",
        &SCHEMES,
        "names a file of the machine that the job runs on; put the source tree on a server, or test it with `path`",
    )
}

/// Checks the address of an archive, by the same rules: apt fetches it in testbeds.
///
/// # Errors
/// What is wrong with it and what would be right, without a password.
pub(crate) fn check_archive(url: &str) -> Result<(), Invalid> {
    check(
        url,
        "uris",
        &ARCHIVE_SCHEMES,
        "names a directory of the machine that the job runs on; put the archive on a server",
    )
}

fn check(url: &str, field: &'static str, schemes: &[&str], no_file: &str) -> Result<(), Invalid> {
    let invalid = |message| Err(Invalid { field, message });
    let wrong = |what: &str| invalid(format!("`{}` {what}", safetext::printable(&safetext::redacted(url))));
    if url.len() > LONGEST {
        return invalid(format!("it has {} bytes, and {LONGEST} are the most", url.len()));
    }
    if url.chars().any(|char| char.is_whitespace() || !safetext::is_printable(char)) {
        return wrong("has blanks or control characters in it; write a blank as %20");
    }
    if let Some(char) = url.chars().find(|char| !char.is_ascii() || NEVER.contains(*char)) {
        return wrong(&format!(
            "has `{char}` in it, which is not taken in addresses; write it with % and hexadecimal digits"
        ));
    }
    let known = format!("it begins with {}", begins(schemes));
    let Some((scheme, rest)) = url.split_once("://") else { return wrong(&format!("is not an address: {known}")) };
    if scheme.eq_ignore_ascii_case("file") {
        return wrong(no_file);
    }
    if !schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return wrong(&format!("is not an address that can be fetched from: {known}"));
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return wrong("has a user or a password in it, which everybody who looks at the job would see; leave it out");
    }
    if !is_server(authority) {
        return wrong("names no server after its scheme: https://server.example/tree.tar");
    }
    // git takes what is after it as the name of a branch, and what begins with a dash as an option.
    if path.split_once('#').is_some_and(|(_, branch)| branch.starts_with('-') || branch.contains('#')) {
        return wrong("has no name of a branch after its #");
    }
    Ok(())
}

/// The beginnings of addresses with these schemes, for people.
fn begins(schemes: &[&str]) -> String {
    let begins: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
    match begins.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => begins.concat(),
    }
}

/// Whether this is a host, and a port after it if there is one (RFC 3986, section 3.2).
fn is_server(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("[", port),
        Some(_) => return false,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_host = |char: char| char.is_ascii_alphanumeric() || ".-_".contains(char);
    let host = host == "[" || !host.is_empty() && host.chars().all(is_host) && !host.starts_with(['-', '.']);
    host && (port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_servers_are_taken() {
        for url in [
            "https://salsa.example.org/rocm-team/rocrand.git#debian/latest",
            "http://192.0.2.7:8000/tree.tar.zst?raw=true",
            "git://git.example.org/x.git",
            "HTTPS://[2001:db8::7]:8443/pool/r/rocrand_6.4-1.dsc",
            "https://server/~me/a%20b@1.tar",
        ] {
            assert_eq!(check_source(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_words() {
        for (url, says) in [
            ("file:///etc/passwd", "a file of the machine"),
            ("FILE://localhost/x.tar", "a file of the machine"),
            ("http://a b", "blanks"),
            ("https://h/x\n.tar", "blanks or control"),
            ("https://h/\u{202e}x", "blanks or control"),
            ("ftp://x/y.dsc", "https://, http:// or git://"),
            ("ext::sh -c id", "blanks"),
            ("ssh://git@h/x.git", "https://, http:// or git://"),
            ("gzip", "is not an address"),
            ("file:/etc/passwd", "is not an address"),
            ("https://me:secret@h/x.git", "a user or a password"),
            ("https://token@h/x.git", "a user or a password"),
            ("https:///x.tar", "names no server"),
            ("https://h:port/x", "names no server"),
            ("https://h:0/x", "names no server"),
            ("https://-oProxyCommand/x", "names no server"),
            ("https://[::1/x", "names no server"),
            ("https://h/x.git#-b", "no name of a branch"),
            ("https://h/$(id)", "`$`"),
            ("https://h/x'y", "`'`"),
        ] {
            let error = check_source(url).expect_err(url).to_string();
            assert!(error.contains(says) && error.starts_with("url: "), "{url}: {error}");
            assert!(!error.contains("secret") && error.chars().all(safetext::is_printable), "{url}: {error}");
        }
        assert!(check_source(&format!("https://h/{}", "x".repeat(2000))).is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_safe_to_pass_on(url in "(https?|git|file|ftp)(://|:)[a-z@:/#?\\[\\]% $'-]{0,20}|\\PC{0,20}") {
            if check_source(&url).is_ok() {
                prop_assert!(url.is_ascii() && !url.contains([' ', '\'', '"', '$', '`']), "{url}");
                let host = url.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
                prop_assert!(host.is_some_and(|host| !host.is_empty() && !host.contains('@')), "{url}");
            }
        }
    }
}
