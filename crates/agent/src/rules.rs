//! [`OwnerRules`]: what the owner of a machine lets jobs do on it.

use protocol::{Job, Span};

use appliance::settings::{Settings, TestNetwork};

/// The owner's rules, from the machine's settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnerRules<'a>(&'a Settings);

impl<'a> OwnerRules<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self(settings)
    }

    /// Why the machine does not run a job; `None` if it does.
    pub(crate) fn refusal(self, job: &Job) -> Option<String> {
        let (allowed, name) = (&self.0.packages, job.source.name());
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *pattern == name,
        };
        let is_allowed = allowed.is_empty() || allowed.iter().any(fits);
        (!is_allowed).then(|| format!("the owner of this machine lets it test only {}", allowed.join(", ")))
    }

    /// The most time that a job has.
    pub(crate) fn longest(self) -> Option<Span> {
        self.0.longest_job
    }

    /// The options of testbeds for their network. `sources` is the text of the image's package sources (deb822 style,
    /// sources.list(5)).
    pub(crate) fn network(self, sources: &str) -> Vec<String> {
        if self.0.test_network == TestNetwork::Machine {
            return Vec::new();
        }
        let archives = sources.lines().filter_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case("URIs").then_some(value)
        });
        let addresses = archives.flat_map(str::split_whitespace).chain(self.0.mirror.as_deref());
        let mut hosts: Vec<String> = addresses.filter_map(host).chain(self.0.test_hosts.iter().cloned()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let words = hosts.into_iter().flat_map(|host| ["--allow".to_owned(), host]);
        ["--network", "proxy"].map(str::to_owned).into_iter().chain(words).collect()
    }
}

/// Host and port of an address by HTTP.
fn host(address: &str) -> Option<String> {
    let is_http = address.starts_with("http://") || address.starts_with("https://");
    let server = transfer::server_of(address);
    (is_http && !server.is_empty()).then(|| server.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_owner_names_is_tested() {
        let mut settings = Settings::default();
        assert_eq!(OwnerRules::new(&settings).refusal(&Job::of_package("gzip")), None);
        settings.packages = vec!["rocrand".into(), "hip*".into()];
        let rules = OwnerRules::new(&settings);
        for (package, runs) in [("rocrand", true), ("rocrand2", false), ("hipfft", true), ("rochip", false)] {
            assert_eq!(rules.refusal(&Job::of_package(package)).is_none(), runs, "{package}");
        }
        let why = rules.refusal(&Job::of_package("gzip")).unwrap_or_default();
        assert_eq!(why, "the owner of this machine lets it test only rocrand, hip*");
    }

    #[test]
    fn tests_reach_the_archive_and_what_the_owner_lists() {
        let sources = "Types: deb\nURIs: http://ftp.debian.org/debian https://me:x@mirror.lab:8443/d\nSuites: sid\n\n\
                       Types: deb\nuris: file:/srv/packages\n";
        let mut settings = Settings::default();
        assert_eq!(OwnerRules::new(&settings).network(sources), Vec::<String>::new());
        settings.test_network = TestNetwork::Archive;
        settings.mirror = Some("http://ftp.debian.org/debian".into());
        settings.test_hosts = vec!["data.lab".into()];
        let words = OwnerRules::new(&settings).network(sources).join(" ");
        assert_eq!(words, "--network proxy --allow data.lab --allow ftp.debian.org --allow mirror.lab:8443");
    }
}
