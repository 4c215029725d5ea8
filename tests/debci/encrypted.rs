//! An encrypted connection to `RabbitMQ`: the certificate is the login, and what is wrong is told.

use std::time::Duration;

use advice::Advise;
use amqp::fixtures::tls::{AUTHORITY, CLIENT, OTHER_AUTHORITY, OTHER_CLIENT, Pair};
use amqp::{Broker, Options, TlsOptions};
use protocol::BrokerAddress;
use rocbed_tests::Debci;

/// The broker, without user and password.
pub fn address(port: u16) -> BrokerAddress {
    BrokerAddress { is_tls: true, host: "127.0.0.1".into(), port, login: None, virtual_host: "/".into() }
}

/// A worker's certificate, and the authority of the broker's.
pub fn options() -> TlsOptions {
    with(AUTHORITY, Some(&CLIENT))
}

fn with(authority: &str, identity: Option<&Pair>) -> TlsOptions {
    TlsOptions { authorities: Some(authority.to_owned()), identity: identity.map(Pair::identity) }
}

/// What is wrong, and what to do about it.
pub fn each_failure_is_told(debci: &Debci) {
    let there = address(debci.tls_port());
    let plain = BrokerAddress::parse(&debci.broker()).expect("an address").port;
    for (address, tls, says, help) in [
        (
            there.clone(),
            with(OTHER_AUTHORITY, Some(&CLIENT)),
            "the authority that has signed it is not known",
            "debci-ca",
        ),
        (there.clone(), with(AUTHORITY, None), "asks for a certificate of this machine", "debci-certificate"),
        (there.clone(), with(AUTHORITY, Some(&OTHER_CLIENT)), "refuses this machine's certificate", "cacertfile"),
        (BrokerAddress { port: plain, ..there.clone() }, options(), "does not speak TLS at this port", "amqp://"),
        (BrokerAddress { is_tls: false, ..there.clone() }, options(), "not a broker of AMQP", "amqps://"),
        (
            BrokerAddress { virtual_host: "ci".into(), ..there.clone() },
            options(),
            "refuses the virtual host",
            "permissions",
        ),
        // The certificate is for this name too; RabbitMQ listens at another address only.
        (BrokerAddress { host: "127.0.0.2".into(), ..there.clone() }, options(), "does not answer", "firewall"),
    ] {
        let name = "rocbed test".into();
        let broker = Broker::new(Options {
            address,
            tls,
            name,
            queues: Vec::new(),
            others: Vec::new(),
            largest: 1000,
            timeout: Duration::from_secs(60),
        });
        let error = broker.expect("a thread").publish("debci_results", b"").expect_err(says);
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert!(error.help().to_string().contains(help), "{help}: {}", error.help());
    }
}
