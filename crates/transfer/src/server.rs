//! [`server_of`]: which server a URL names.

/// Host and port of a URL as they stand there, without a user and a password. Empty if it names no server.
pub fn server_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, server)| server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_where_the_path_begins_and_has_no_login() {
        for (url, server) in [
            ("http://deb.example/debian", "deb.example"),
            ("https://user:p%40ss@deb.example:8443?x=@y", "deb.example:8443"),
            ("http://[2001:db8::1]:80#top", "[2001:db8::1]:80"),
            ("deb.example/debian", "deb.example"),
            ("file:///srv/mirror", ""),
        ] {
            assert_eq!(server_of(url), server, "{url}");
        }
    }
}
