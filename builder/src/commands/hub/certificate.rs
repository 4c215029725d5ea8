//! Warnings about a hub certificate that workers and commands would refuse.

use advice::Advice;
use client::{certificate_names, self_signed_command};
use hub::{CertificateFault, Tls};

/// A warning with what to type instead; `None` if clients that trust its authority accept the certificate.
pub(super) fn warning(tls: &Tls, url: Option<&str>) -> Option<Advice> {
    let host = url.and_then(host);
    tls.fault(host.as_deref()).map(|fault| advice(&fault, host.as_deref()))
}

fn advice(fault: &CertificateFault, host: Option<&str>) -> Advice {
    let what = match fault {
        CertificateFault::Authority => {
            "it is an authority's (CA:TRUE, which `openssl req -x509` makes unless it is told otherwise)".to_owned()
        }
        CertificateFault::NoName => {
            "it names no host: a name in its subject (CN) does not count, only subjectAltName does".to_owned()
        }
        CertificateFault::OtherName(names) => {
            format!("it is for {}, and --url names {}", certificate_names(names), host.unwrap_or_default())
        }
        CertificateFault::Expired => "it has expired".to_owned(),
    };
    let command = self_signed_command(&[host.unwrap_or("hub.example")]);
    Advice::new(
        format!("workers and commands will refuse the certificate: {what}"),
        format!(
            "make one with the names and addresses that the hub is called by, and give workers its file as `hub-ca`, commands as --ca:\n        {command}"
        ),
    )
}

/// The host part of a URL.
fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_addresses() {
        for (url, expected) in [
            ("https://hub.example", "hub.example"),
            ("https://hub.example:8420/", "hub.example"),
            ("https://[2001:db8::7]:8420", "[2001:db8::7]"),
            ("https://[::1]", "[::1]"),
            ("https://192.0.2.7:80", "192.0.2.7"),
        ] {
            assert_eq!(host(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn a_warning_has_the_command_for_this_hub() {
        let text = advice(&CertificateFault::Authority, Some("192.0.2.7")).in_one_line();
        assert!(text.contains("CA:TRUE") && text.contains("subjectAltName=IP:192.0.2.7 "), "{text}");
        let names = vec!["DnsName(\"a\")".to_owned()];
        assert!(advice(&CertificateFault::OtherName(names), Some("b")).what.contains("it is for a, and --url names b"));
    }
}
