use super::*;
use crate::fixtures::tls::{
    AUTHORITY, CLIENT, EXPIRED, NOT_YET, OTHER_AUTHORITY, OTHER_CLIENT, OTHER_NAME, Pair, SERVER, server,
};
use crate::fixtures::{Behaviour, TestBroker};
use crate::{Broker, Error, Options};
use protocol::BrokerAddress;

type Failure = Box<dyn std::error::Error>;
type Result<T = ()> = std::result::Result<T, Failure>;

/// Has a client connect to a broker with TLS. Returns what it says, and what it advises.
fn connect(
    broker: &TestBroker,
    address: BrokerAddress,
    authorities: &str,
    identity: Option<&Pair>,
) -> Result<Option<(String, String)>> {
    let tls = TlsOptions { authorities: Some(authorities.to_owned()), identity: identity.map(Pair::identity) };
    let client = Broker::new(Options { tls, ..options(BrokerAddress { port: broker.address().port, ..address }) })?;
    let error = client.take().err();
    let told = error.map(|error| {
        assert!(matches!(error, Error::Tls(_) | Error::NotABroker(_)), "{error:?}");
        (error.to_string(), error.help().to_string())
    });
    Ok(told)
}

fn options(address: BrokerAddress) -> Options {
    Options {
        address,
        tls: TlsOptions::default(),
        name: "lab1".into(),
        queues: Vec::new(),
        others: Vec::new(),
        largest: 1000,
        timeout: std::time::Duration::from_secs(10),
    }
}

fn at(host: &str) -> BrokerAddress {
    BrokerAddress { is_tls: true, host: host.into(), port: 0, login: None, virtual_host: "/".into() }
}

fn broker(pair: &Pair, asks: bool) -> Result<TestBroker> {
    Ok(TestBroker::start(Behaviour {
        tls: Some(server(pair, asks)?),
        mechanisms: "PLAIN EXTERNAL",
        ..Behaviour::default()
    })?)
}

#[test]
fn an_encrypted_connection_to_a_broker_of_ones_own_authority() -> Result {
    let plain = broker(&SERVER, false)?;
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(connect(&plain, at(host), AUTHORITY, None)?, None);
    }
    // A certificate is a login as well.
    assert_eq!(connect(&broker(&SERVER, true)?, at("127.0.0.1"), AUTHORITY, Some(&CLIENT))?, None);
    Ok(())
}

#[test]
fn each_way_in_which_tls_fails_is_told_with_what_to_do() -> Result {
    for (pair, asks, authorities, identity, says, help) in [
        (&SERVER, false, OTHER_AUTHORITY, None, "not known here", "debci-ca"),
        (&OTHER_NAME, false, AUTHORITY, None, "it is for another host", "subjectAltName"),
        (&EXPIRED, false, AUTHORITY, None, "it has expired", "clock is wrong"),
        (&NOT_YET, false, AUTHORITY, None, "it is not valid yet", "clock"),
        (&SERVER, true, AUTHORITY, None, "asks for a certificate of this machine", "debci-certificate"),
        (&SERVER, true, AUTHORITY, Some(&OTHER_CLIENT), "refuses this machine's certificate", "ssl_options.cacertfile"),
    ] {
        let (told, advised) = connect(&broker(pair, asks)?, at("127.0.0.1"), authorities, identity)?.ok_or(says)?;
        assert!(told.contains(says) && told.contains("127.0.0.1"), "{says}: {told}");
        assert!(advised.contains(help), "{says}: {advised}");
    }
    Ok(())
}

#[test]
fn a_plain_port_and_an_encrypted_one_are_told_apart() -> Result {
    let plain = TestBroker::start(Behaviour::default())?;
    let (told, advised) = connect(&plain, at("127.0.0.1"), AUTHORITY, None)?.ok_or("no error")?;
    assert!(told.contains("127.0.0.1 does not speak TLS at this port"), "{told}");
    assert!(advised.contains("5671"), "{advised}");
    let encrypted = broker(&SERVER, false)?;
    let (told, advised) =
        connect(&encrypted, BrokerAddress { is_tls: false, ..at("127.0.0.1") }, AUTHORITY, None)?.ok_or("no error")?;
    assert!(told.contains("not a broker of AMQP"), "{told}");
    assert!(advised.contains("amqps://"), "{advised}");
    Ok(())
}

#[test]
fn a_lost_connection_is_told_as_without_tls() -> Result {
    use crate::fixtures::{Fault, Step};
    let broker = broker(&SERVER, false)?;
    broker.fail(Step::Channel, Fault::CutBefore);
    let tls = TlsOptions { authorities: Some(AUTHORITY.to_owned()), identity: None };
    let client = Broker::new(Options { tls, ..options(broker.address()) })?;
    let error = client.take().err().ok_or("no error")?;
    assert_eq!(error.to_string(), "the connection to the broker was lost: the broker has ended the connection");
    // As a proxy whose broker is away.
    broker.set_down(true);
    let error = client.take().err().ok_or("no error")?;
    assert!(error.to_string().ends_with(": it has ended the connection at once"), "{error}");
    assert!(error.help().to_string().contains("being started"), "{error:?}");
    Ok(())
}

#[test]
fn each_failure_says_what_to_do() {
    use rustls::Error::{AlertReceived, InvalidCertificate};
    for (error, says, help) in [
        (InvalidCertificate(CertificateError::UnknownIssuer), "not known here", "debci-ca"),
        (InvalidCertificate(CertificateError::Expired), "expired", "renew"),
        (InvalidCertificate(CertificateError::NotValidForName), "another host", "subjectAltName"),
        (AlertReceived(AlertDescription::CertificateRequired), "asks for a certificate", "debci-key"),
        (AlertReceived(AlertDescription::UnknownCA), "refuses this machine's certificate", "trusts"),
    ] {
        let error = TlsError::of(&error, "broker.example");
        assert!(error.to_string().contains("broker.example") && error.to_string().contains(says), "{error}");
        assert!(error.help.contains(help), "{error:?}");
    }
}

#[test]
fn files_without_a_certificate_or_key_are_named() {
    let told = |options: &TlsOptions| config(options).err().map(|error| error.to_string()).unwrap_or_default();
    let no_authority = TlsOptions { authorities: Some("x".into()), identity: None };
    assert!(told(&no_authority).starts_with("debci-ca: there is no certificate"));
    let identity = Identity { certificate: String::new(), key: Secret::new("x") };
    assert!(told(&TlsOptions { authorities: None, identity: Some(identity) }).starts_with("debci-certificate:"));
    assert!(config(&TlsOptions::default()).is_ok());
}
