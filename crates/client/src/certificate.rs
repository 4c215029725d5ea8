//! Explains why a hub's certificate is refused, and what to do about it.

use rustls::{CertificateError, Error};

/// The fault of a certificate, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) help: String,
}

/// The command that creates a self-signed certificate and its key for a hub with these names and addresses.
pub fn self_signed_command<S: AsRef<str>>(hosts: &[S]) -> String {
    let kind = |host: &str| {
        let host = host.trim_matches(['[', ']']).to_owned();
        if host.parse::<std::net::IpAddr>().is_ok() { format!("IP:{host}") } else { format!("DNS:{host}") }
    };
    let names: Vec<String> = hosts.iter().map(|host| kind(host.as_ref())).collect();
    let subject = hosts.first().map_or("hub", |host| host.as_ref().trim_matches(['[', ']']));
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj '/CN={subject}' \
         -addext basicConstraints=critical,CA:FALSE -addext subjectAltName={} -keyout key.pem -out cert.pem",
        names.join(",")
    )
}

/// The names in a certificate, formatted for users: `hub.example` for rustls's `DnsName("hub.example")`.
pub fn names(presented: &[String]) -> String {
    let inner = |name: &String| {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, inside)| inside.trim_end_matches(')'));
        inside.trim_matches('"').to_owned()
    };
    presented.iter().map(inner).collect::<Vec<_>>().join(", ")
}

/// Translates a TLS error for the hub at `host`; `None` if the error is not about the certificate.
pub(crate) fn refusal(error: &Error, host: &str) -> Option<Refusal> {
    let Error::InvalidCertificate(error) = error else { return None };
    let anew = || format!("make another one at the hub: {}", self_signed_command(&[host]));
    let (reason, help) = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "it has expired".to_owned(),
            "renew it at the hub, which reads the new files by itself; if this machine's clock is wrong, set it".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("it is not valid yet".to_owned(), "this machine's clock may be wrong: set it".to_owned())
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            ("it names no host: a name in its subject (CN) does not count, only subjectAltName does".to_owned(), anew())
        }
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("it is for {}, not for {host}", names(presented)),
            format!("use a name that it is for in the hub's address, or {}", anew()),
        ),
        // rustls has no error of its own for this; webpki's is part of the text.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            "it is an authority's (CA:TRUE, which openssl makes unless it is told otherwise), and not a server's at the \
             same time"
                .to_owned(),
            anew(),
        ),
        CertificateError::UnknownIssuer => (
            "the authority that has signed it is not known here".to_owned(),
            "give the file of that authority, or of the certificate itself if it has signed itself: --ca, or `hub-ca` on a \
             worker"
                .to_owned(),
        ),
        _ => return None,
    };
    Some(Refusal { reason, help })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_hosts_and_addresses() {
        let command = self_signed_command(&["hub.example", "192.0.2.7", "[::1]"]);
        assert!(command.contains("subjectAltName=DNS:hub.example,IP:192.0.2.7,IP:::1 "), "{command}");
        assert!(command.contains("-subj '/CN=hub.example' ") && command.contains("CA:FALSE"), "{command}");
    }

    #[test]
    fn names_are_as_people_write_them() {
        let presented = ["DnsName(\"hub.example\")", "IpAddress(192.0.2.7)", "DirectoryName"].map(str::to_owned);
        assert_eq!(names(&presented), "hub.example, 192.0.2.7, DirectoryName");
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let told = |error| refusal(&Error::InvalidCertificate(error), "hub").map(|refusal| refusal.help);
        for (error, says) in [
            (CertificateError::Expired, "renew"),
            (CertificateError::NotValidYet, "clock"),
            (CertificateError::UnknownIssuer, "--ca"),
        ] {
            assert!(told(error.clone()).is_some_and(|help| help.contains(says)), "{error:?}");
        }
        assert_eq!(told(CertificateError::BadEncoding), None);
        assert_eq!(refusal(&Error::DecryptError, "hub"), None);
    }
}
