//! Chooses where this machine takes jobs from: the first source that is available.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use advice::{Advice, Advise as _};

use super::debci::{self, Debci};
use super::hub::{self, Hub};
use super::job_source::JobSource;
use super::stick::{Stick, StickPaths};
use super::storage::{StorageOptions, WithStorage};
use super::timeouts::Timeouts;
use super::url_list::{self, UrlList};
use super::virtio_channel::Port;
use super::{DATA, discover, tell};
use appliance::paths::{HUB_CA, JOB_LIST, STORAGE_CA};
use appliance::settings::{Secret, Settings, TestNetwork};

/// The chosen job source.
pub struct ChosenSource {
    /// The source itself.
    pub source: Box<dyn JobSource>,
    /// True for a worker that looks after itself: it is qualified, checked, restarted if necessary, and remembers
    /// what it ran. False if another program controls the machine and waits for all jobs of one list.
    pub is_worker: bool,
}

/// Why no job source can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChooseError {
    /// The channel to the program that runs this virtual machine has failed. Nobody else gives it jobs.
    Channel(Advice),
    /// A setting or the job list is wrong, or something is away that a source needs.
    Source(Advice),
}

impl ChooseError {
    /// What is wrong, and what to do about it.
    pub fn into_advice(self) -> Advice {
        let (Self::Channel(advice) | Self::Source(advice)) = self;
        advice
    }
}

/// Chooses a job source, and adds the settings that come with it:
///
/// 1. the virtio port of the program that runs this virtual machine;
/// 2. `jobs.toml` on the stick that the machine was started from: it was put there for this machine;
/// 3. the hub in the settings;
/// 4. the broker of a debci server in the settings;
/// 5. the job list on a web server in the settings;
/// 6. with a join token, a hub that is found on the network.
///
/// Returns `None` if there is no job source.
///
/// # Errors
/// If a source is there but cannot be used, or a setting says what it must not do and cannot be read: then it takes no
/// jobs, rather than more than its owner allows.
///
/// With storage in the settings, bundles of a worker are put there besides.
pub fn choose(settings: &mut Settings, stop: &Arc<AtomicBool>) -> Result<Option<ChosenSource>, ChooseError> {
    check(settings).map_err(ChooseError::Source)?;
    if let Some(port) = Port::open(settings).map_err(ChooseError::Channel)? {
        if let Some(source) = own_source(settings, Path::new(appliance::paths::ESP)) {
            port.passes_over(&source).map_err(ChooseError::Channel)?;
        }
        return Ok(Some(ChosenSource { source: Box::new(port), is_worker: false }));
    }
    choose_own(settings, stop).map_err(ChooseError::Source)
}

/// Where the machine would take jobs from, if no program ran it.
fn own_source(settings: &Settings, esp: &Path) -> Option<String> {
    if esp.join(JOB_LIST).exists() {
        return Some(format!("{JOB_LIST} on the stick"));
    }
    let sources = [
        ("hub", settings.hub.is_some()),
        ("debci", settings.debci.broker.is_some()),
        ("jobs", settings.jobs.is_some()),
        ("join-token", settings.join_token.is_some()),
    ];
    sources.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| format!("the setting {name}"))
}

/// Checks what settings mean together.
fn check(settings: &Settings) -> Result<(), Advice> {
    if settings.test_network == TestNetwork::Archive && settings.proxy.is_some() {
        return Err(Advice::new(
            "test-network=archive and proxy are both set, and the proxy would let tests reach everything",
            "leave one of them out",
        ));
    }
    Ok(())
}

/// Chooses among the sources of a machine that looks after itself.
fn choose_own(settings: &mut Settings, stop: &Arc<AtomicBool>) -> Result<Option<ChosenSource>, Advice> {
    if let Some(wrong) = settings.wrong_rules.first() {
        return Err(wrong.clone());
    }
    // All that may be wrong with it is said before there is a job.
    let storage = storage_of(settings)?;
    let (chosen, bucket) = match (choose_source(settings, stop)?, storage) {
        (Some(chosen), Some(bucket)) => (chosen, bucket),
        (chosen, _) => return Ok(chosen),
    };
    let options =
        StorageOptions { bucket, data: PathBuf::from(DATA), timeouts: Timeouts::default(), tell: Arc::new(tell) };
    let source = WithStorage::new(chosen.source, options)?;
    Ok(Some(ChosenSource { source: Box::new(source), is_worker: true }))
}

fn choose_source(settings: &mut Settings, stop: &Arc<AtomicBool>) -> Result<Option<ChosenSource>, Advice> {
    let paths = StickPaths { esp: Path::new(appliance::paths::ESP), data: Path::new(DATA) };
    if let Some(stick) =
        Stick::open(&paths, Path::new(appliance::paths::DATA_IS_KEPT).exists(), settings.when_done, stop)?
    {
        return Ok(Some(ChosenSource { source: Box::new(stick), is_worker: true }));
    }
    // Without a token a discovered hub is not used: any host on the network can answer.
    if settings.hub.is_none()
        && settings.debci.broker.is_none()
        && settings.jobs.is_none()
        && settings.join_token.is_some()
    {
        settings.hub = Some(discover::hub(stop)?);
    }
    if let Some(address) = &settings.hub {
        let hub = hub_at(address, settings, stop)?;
        return Ok(Some(ChosenSource { source: Box::new(hub), is_worker: true }));
    }
    if let Some(broker) = &settings.debci.broker {
        let debci = debci_at(broker, settings, stop)?;
        return Ok(Some(ChosenSource { source: Box::new(debci), is_worker: true }));
    }
    if let Some(jobs) = &settings.jobs {
        let list = list_at(jobs, settings, stop)?;
        return Ok(Some(ChosenSource { source: Box::new(list), is_worker: true }));
    }
    Ok(None)
}

/// The bucket in the settings.
fn storage_of(settings: &Settings) -> Result<Option<s3::Bucket>, Advice> {
    let wanted = &settings.storage;
    let Some(address) = &wanted.address else { return Ok(None) };
    let told = |error: s3::S3Error| Advice::new(format!("the setting storage: {error}"), error.help());
    // The appliance has no environment: all is in the settings.
    let location = s3::Location::parse(address, |_| None).map_err(told)?;
    let (Some(key_id), Some(key)) = (&wanted.key_id, &wanted.key) else {
        let what = "storage is set, and storage-key-id or storage-key is not";
        return Err(Advice::new(what, "set both to a key that may put objects below that address"));
    };
    let ca_file = wanted.ca.as_deref().map(|value| authority("storage-ca", value, STORAGE_CA)).transpose()?;
    let options = s3::Options { ca_file, ..s3::Options::default() };
    s3::Bucket::new(location, s3::Credentials::new(key_id, key.reveal()), &options).map(Some).map_err(told)
}

/// The broker of a debci server.
fn debci_at(broker: &Secret, settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Debci, Advice> {
    let wanted = &settings.debci;
    let address = protocol::BrokerAddress::parse(broker.reveal())
        .map_err(|error| Advice::new(format!("the setting debci: {error}"), error.help()))?;
    let key = wanted.key.as_ref().map(|key| pem("debci-key", key.reveal()).map(Secret::new)).transpose()?;
    let certificate = wanted.certificate.as_ref().map(|text| pem("debci-certificate", text)).transpose()?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(amqp::Identity { certificate, key }),
        (None, None) => None,
        _ => {
            return Err(Advice::new("of debci-certificate and debci-key only one is set", "set both, or none"));
        }
    };
    let authorities = wanted.ca.as_ref().map(|text| pem("debci-ca", text)).transpose()?;
    Debci::open(debci::Settings {
        address,
        tls: amqp::TlsOptions { authorities, identity },
        suites: wanted.suites.clone(),
        architecture: wanted.architecture.clone(),
        backend: wanted.backend.clone(),
        api: wanted.api.clone(),
        when_done: settings.when_done,
        data: PathBuf::from(DATA),
        timeouts: Timeouts::default(),
        tell: Arc::new(tell),
        stop: Arc::clone(stop),
    })
}

/// The text of a PEM file, from a setting that has it or names the file.
fn pem(setting: &str, value: &str) -> Result<String, Advice> {
    if !value.starts_with('/') {
        return Ok(value.to_owned());
    }
    std::fs::read_to_string(value).map_err(|error| {
        Advice::new(format!("{setting}: reading {value}: {error}"), "put the file there, or its text into the setting")
    })
}

/// The job list on a web server.
fn list_at(jobs: &str, settings: &Settings, stop: &Arc<AtomicBool>) -> Result<UrlList, Advice> {
    let results = settings.results.as_deref().ok_or_else(|| {
        Advice::new(
            format!("jobs={jobs} is set, and nothing says where results go"),
            "set results= to an address below which the server takes files by PUT",
        )
    })?;
    UrlList::open(url_list::UrlListOptions {
        jobs,
        results,
        when_done: settings.when_done,
        data: Path::new(DATA),
        timeouts: Timeouts::default(),
        tell: Arc::new(tell),
        stop,
    })
}

/// Directory for the package files of the job that runs.
const PACKAGES: &str = "/var/tmp/rocbed/packages";

/// Connects to a hub with this machine's settings.
pub fn hub_at(address: &str, settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Hub, Advice> {
    Hub::new(hub::HubOptions {
        address: address.to_owned(),
        join_token: settings.join_token.clone(),
        ca_file: settings.hub_ca.as_deref().map(|value| authority("hub-ca", value, HUB_CA)).transpose()?,
        data: PathBuf::from(DATA),
        packages: PathBuf::from(PACKAGES),
        when_done: settings.when_done,
        timeouts: Timeouts::default(),
        stop: Arc::clone(stop),
        tell: Arc::new(tell),
    })
}

/// Returns the path of a file with the certificate of a setting: the one that it names, or one that is written.
fn authority(setting: &str, value: &str, path: &str) -> Result<PathBuf, Advice> {
    if value.starts_with('/') {
        return Ok(PathBuf::from(value));
    }
    let failed = |error| {
        Advice::new(format!("writing the setting {setting} to {path}: {error}"), "give the machine more memory")
    };
    durable::replace(Path::new(path), value.as_bytes(), durable::Readers::Owner).map_err(failed)?;
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_on_the_stick_comes_before_settings() -> std::io::Result<()> {
        let esp = tempfile::tempdir()?;
        let mut settings = Settings::default();
        assert_eq!(own_source(&settings, esp.path()), None);
        settings.hub = Some("http://hub.example".into());
        assert_eq!(own_source(&settings, esp.path()).as_deref(), Some("the setting hub"));
        std::fs::write(esp.path().join(JOB_LIST), "")?;
        assert_eq!(own_source(&settings, esp.path()).as_deref(), Some("jobs.toml on the stick"));
        Ok(())
    }

    #[test]
    fn a_rule_that_cannot_be_read_keeps_jobs_away() {
        let mut settings = Settings::default();
        let _ = settings.set("test-network", "archve", appliance::settings::Origin::Stick);
        let Err(ChooseError::Source(error)) = choose(&mut settings, &Arc::default()) else { panic!("jobs are taken") };
        assert_eq!(
            error.in_one_line(),
            "rocbed.toml on the stick: test-network: `archve` is neither `machine` nor `archive`"
        );
    }
}
