//! The startup message of a hub.

use std::fmt::Write as _;

use super::Started;

/// The message for people: the hub's address, how to join it, how to use it.
pub(super) fn of(started: &Started) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, started);
    text
}

fn write(text: &mut String, started: &Started) -> std::fmt::Result {
    let (address, join) = (&started.address, started.join_token.reveal());
    let who = match (started.everywhere, started.encrypted) {
        (false, _) => "this machine only",
        (true, true) => "every machine that reaches it, encrypted",
        (true, false) => {
            "every machine that reaches it, not encrypted: for networks that you trust (--tls-cert encrypts)"
        }
    };
    writeln!(text, "listens on   {}\n             for {who}", started.listens.join(", "))?;
    writeln!(text, "web page     {address}/")?;
    for other in started.addresses.iter().filter(|other| *other != address) {
        writeln!(text, "             {other}/")?;
    }
    writeln!(text, "data         {}", started.data.display())?;
    let kept = started.admin_token_path.display();
    match &started.admin_token {
        Some(token) => {
            writeln!(text, "admin token  {}\n             shown only now; kept in {kept}", token.reveal())?;
        }
        None if started.admin_token_path.is_file() => writeln!(text, "admin token  in {kept}")?,
        None => writeln!(text, "admin token  was shown when it was made; --new-admin-token makes another")?,
    }
    writeln!(text, "\nA machine becomes its worker with these words on its kernel command line:")?;
    writeln!(text, "  rocbed.hub={address} rocbed.join-token={join}")?;
    writeln!(text, "or with these lines in rocbed.toml on its stick:")?;
    writeln!(text, "  hub = \"{address}\"\n  join-token = \"{join}\"")?;
    writeln!(text, "\nAdd a job:")?;
    if started.is_default {
        writeln!(text, "  rocbed jobs add rocrand")?;
        writeln!(text, "and from other machines, with the token in ROCBED_TOKEN:")?;
        writeln!(text, "  rocbed jobs add rocrand --hub {address}")
    } else {
        writeln!(text, "  rocbed jobs add rocrand --hub {address} --token-file {kept}")
    }
}

#[cfg(test)]
mod tests {
    use safetext::Secret;

    use super::*;

    fn started() -> Started {
        Started {
            address: "http://192.0.2.7:8420".into(),
            addresses: vec!["http://192.0.2.7:8420".into(), "http://[2001:db8::7]:8420".into()],
            listens: vec!["[::]:8420".into()],
            data: "/srv/hub".into(),
            pid: 1,
            join_token_path: "/srv/hub/join-token".into(),
            admin_token_path: "/srv/hub/admin-token".into(),
            admin_token: Some(Secret::new("rocbed-admin-1")),
            join_token: Secret::new("rocbed-join-2"),
            encrypted: false,
            everywhere: true,
            is_default: false,
        }
    }

    #[test]
    fn everything_that_is_needed_to_go_on_is_there() {
        let text = of(&started());
        for line in [
            "rocbed.hub=http://192.0.2.7:8420 rocbed.join-token=rocbed-join-2",
            "hub = \"http://192.0.2.7:8420\"",
            "rocbed-admin-1",
            "not encrypted",
            "http://[2001:db8::7]:8420/",
            "--token-file /srv/hub/admin-token",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
    }

    #[test]
    fn json_has_one_line_and_no_join_token() {
        let text = serde_json::to_string(&started()).unwrap();
        assert!(!text.contains('\n') && !text.contains("rocbed-join-2"), "{text}");
        assert!(text.contains("\"join-token-path\":\"/srv/hub/join-token\""), "{text}");
    }
}
