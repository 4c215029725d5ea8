//! Options of `rocbed hub`, and those by which every command finds a hub.

use std::path::PathBuf;

use clap::Args;
use protocol::Span;
use safetext::Secret;

/// `rocbed hub`
#[derive(Debug, Args)]
pub struct Hub {
    /// Where it keeps everything [default: $XDG_DATA_HOME/rocbed/hub]
    #[allow(clippy::doc_markdown)] // a help text: it is printed as it is
    #[arg(long, value_name = "DIR", env = "ROCBED_HUB_DATA", hide_env_values = true)]
    pub data: Option<PathBuf>,
    /// Listen there: an address, a port or both, as 127.0.0.1, 8420, 192.0.2.7:80; may be given several times [default:
    /// port 8420 of every network of this machine]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// What workers and browsers call it, where that is not an address of this machine: https://hub.example
    #[allow(clippy::doc_markdown)] // a help text: it is printed as it is
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Serve HTTPS with this certificate, and the chain after it (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Keep bundles in this bucket of S3-compatible storage: s3://BUCKET/PREFIX with AWS_ENDPOINT_URL set, or
    /// s3+https://HOST/BUCKET/PREFIX; the key is in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[allow(clippy::doc_markdown)] // a help text: it is printed as it is
    #[arg(long, value_name = "S3-ADDRESS")]
    pub bundles: Option<String>,
    /// Have workers put bundles into the bucket themselves, with addresses that the hub signs
    #[arg(long, requires = "bundles")]
    pub direct_uploads: bool,
    /// Ask everybody who looks at pages, jobs and results for the admin token
    #[arg(long)]
    pub private: bool,
    /// Run the failing tests of a job again by itself, on another machine if there is one, when one of them passed before
    #[arg(long)]
    pub confirm: bool,
    /// Post changes of the states of tests to the receivers in this TOML file: an address and a secret for each
    #[arg(long, value_name = "FILE")]
    pub webhooks: Option<PathBuf>,
    /// Announce it on the local network (DNS-SD), where machines that have a join token and no hub find it
    #[arg(long)]
    pub announce: bool,
    /// Make a new admin token; the one before is good for nothing any more
    #[arg(long)]
    pub new_admin_token: bool,
    /// Print what it is started as as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// With --json: leave out a new admin token, where what is printed is kept, as in the log of a container
    #[arg(long, requires = "json")]
    pub hide_token: bool,
    /// A debci server whose jobs it takes.
    #[command(flatten, next_help_heading = "Jobs of a debci server")]
    pub debci: Debci,
    /// Workers of debci that get its jobs.
    #[command(flatten, next_help_heading = "Jobs for workers of debci")]
    pub debci_workers: DebciWorkers,
    /// An archive that it watches.
    #[command(flatten, next_help_heading = "Jobs for what changes in an archive")]
    pub watch: Watch,
    /// Limits and times.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: Limits,
}

/// An archive that the hub watches.
#[derive(Debug, Args)]
pub struct Watch {
    /// Make jobs for packages of ROCm that change in an archive, or that something changes below, once for each change and
    /// each target that a worker has; the archive is the one of a recipe: a name, or a path
    #[arg(long, value_name = "RECIPE", num_args = 0..=1, default_missing_value = "rocm")]
    pub watch: Option<String>,
    /// Read the archive from this mirror [default: the recipe's, else the one that apt uses here]
    #[arg(long, value_name = "URL", env = "ROCBED_MIRROR", hide_env_values = true)]
    pub watch_mirror: Option<String>,
    /// How often it is read
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub watch_every: Span,
    /// The most jobs in 24 hours for each worker; for one with several GPUs, for each GPU
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub watch_budget: u32,
    /// Priority of these jobs; those of people have 0
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    pub watch_priority: i32,
    /// Keep the packages that tested runs had, up to this size, with a unit: 200GiB. Jobs that want a version which the archive
    /// has no more get it from the hub [default: none are kept]
    #[arg(long, value_name = "SIZE", requires = "watch", value_parser = crate::recipe::parse_size)]
    pub keep_packages: Option<u64>,
}

/// A debci server whose jobs the hub's workers run.
#[derive(Debug, Args)]
pub struct Debci {
    /// Take jobs from the message broker of this debci server, and send it their results:
    /// `amqps://user:password@ci.example/vhost`
    #[arg(long, value_name = "ADDRESS", env = "ROCBED_DEBCI", hide_env_values = true)]
    pub debci: Option<Secret>,
    /// A file with the password for the broker, instead of the address; others see command lines
    #[arg(long, value_name = "FILE", requires = "debci")]
    pub debci_password_file: Option<PathBuf>,
    /// Suites whose jobs are run, as the images of the workers have them; jobs for others are refused
    #[arg(long, value_name = "SUITE", value_delimiter = ',', default_value = "unstable,sid")]
    pub debci_suite: Vec<String>,
    /// Architecture, to which each GPU's target is added: amd64+gfx1030
    #[arg(long, value_name = "ARCH", default_value = "amd64")]
    pub debci_arch: String,
    /// The backend whose queues are read: the server's debci_backend
    #[allow(clippy::doc_markdown)] // a help text: it is printed as it is
    #[arg(long, value_name = "NAME", default_value = "lxc")]
    pub debci_backend: String,
    /// The server's web pages, where it is asked whether a job that comes again still waits: https://ci.example
    #[allow(clippy::doc_markdown)] // as above
    #[arg(long, value_name = "URL", requires = "debci")]
    pub debci_api: Option<String>,
    /// Trust certificates of the broker and of the web pages that this authority has signed (PEM)
    #[arg(long, value_name = "FILE", requires = "debci")]
    pub debci_ca: Option<PathBuf>,
    /// The hub's certificate, for a broker that asks for one (PEM)
    #[arg(long, value_name = "FILE", requires = "debci_key")]
    pub debci_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "debci_certificate")]
    pub debci_key: Option<PathBuf>,
    /// How many jobs may wait here for each worker that is free; more leaves fewer to the server's other workers
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub debci_ahead: u32,
}

/// Workers of debci that run jobs of the hub.
#[derive(Debug, Args)]
pub struct DebciWorkers {
    /// Offer jobs that no machine of the hub can run to workers of debci, at this message broker and a virtual host that no
    /// debci server uses: `amqps://user:password@broker.example/vhost`
    #[arg(long, value_name = "ADDRESS", env = "ROCBED_DEBCI_WORKERS", hide_env_values = true)]
    pub debci_workers: Option<Secret>,
    /// A file with the password for that broker, instead of the address; others see command lines
    #[arg(long, value_name = "FILE", requires = "debci_workers")]
    pub debci_workers_password_file: Option<PathBuf>,
    /// Architectures that these workers have, with the target of a GPU after a +; jobs without a GPU go to one without:
    /// amd64,amd64+gfx1030
    #[arg(long, value_name = "ARCH", value_delimiter = ',', default_value = "amd64")]
    pub debci_workers_arch: Vec<String>,
    /// Their backend
    #[arg(long, value_name = "NAME", default_value = "lxc")]
    pub debci_workers_backend: String,
    /// The suite that they test in: the one of the images of the hub's machines
    #[arg(long, value_name = "SUITE", default_value = "unstable")]
    pub debci_workers_suite: String,
    /// Offer them also what a machine of the hub could run, when it has waited so long; never otherwise
    #[arg(long, value_name = "TIME", requires = "debci_workers")]
    pub debci_workers_after: Option<Span>,
    /// How long a job waits for one of them
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub debci_workers_wait: Span,
    /// How long one of them may take then, before the job is taken back
    #[arg(long, value_name = "TIME", default_value = "8h")]
    pub debci_workers_limit: Span,
    /// How many jobs may wait in each queue
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub debci_workers_ahead: u32,
    /// Trust certificates of that broker that this authority has signed (PEM)
    #[arg(long, value_name = "FILE", requires = "debci_workers")]
    pub debci_workers_ca: Option<PathBuf>,
    /// The hub's certificate, if that broker asks for one (PEM)
    #[arg(long, value_name = "FILE", requires = "debci_workers_key")]
    pub debci_workers_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "debci_workers_certificate")]
    pub debci_workers_key: Option<PathBuf>,
}

/// Limits and times of a hub.
#[derive(Debug, Args)]
pub struct Limits {
    /// A job is taken from a worker that was not heard of for so long
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub lease: Span,
    /// How often a job that was lost is given out again
    #[arg(long, value_name = "TIMES", default_value_t = 2)]
    pub retries: u32,
    /// A worker is shown as offline when it was not heard of for so long
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub offline_after: Span,
    /// The largest result bundle
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = crate::recipe::parse_size)]
    pub max_upload: u64,
    /// Bundles of the bucket that are kept on this machine too
    #[arg(long, value_name = "SIZE", default_value = "10GiB", value_parser = crate::recipe::parse_size)]
    pub bundle_cache: u64,
    /// The most that a bundle may unpack to
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = crate::recipe::parse_size)]
    pub max_unpacked: u64,
    /// The longest log; what comes after it is refused
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = crate::recipe::parse_size)]
    pub max_log: u64,
    /// Refuse bundles and logs while less than this is free on the disk
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = crate::recipe::parse_size)]
    pub min_free: u64,
    /// Connections at the same time; half of them are for those with a token
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    pub max_connections: usize,
    /// Connections of one address without a token (IPv6: of one /64); the oldest ends when there are more
    #[arg(long, value_name = "COUNT", default_value_t = 512)]
    pub max_connections_per_address: usize,
    /// Event streams, and downloads, at the same time of one address or token
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    pub max_streams: usize,
    /// Requests of one address without a token in a second; ten times as many at once
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub max_requests: u32,
    /// Bundles that a worker may upload in 24 hours
    #[arg(long, value_name = "SIZE", default_value = "64GiB", value_parser = crate::recipe::parse_size)]
    pub daily_quota: u64,
    /// Bundles of a worker that may be here without a result
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = crate::recipe::parse_size)]
    pub pending_quota: u64,
    /// Package files of all jobs together
    #[arg(long, value_name = "SIZE", default_value = "32GiB", value_parser = crate::recipe::parse_size)]
    pub package_quota: u64,
    /// A reverse proxy that says in X-Forwarded-For for whom it asks: an address or a network, as 127.0.0.1, 10.0.0.0/8;
    /// may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub trusted_proxy: Vec<hub::Network>,
}

/// How much of a list is printed, and in which form; and which hub has it.
#[derive(Debug, Clone, Args)]
pub struct ListOf {
    /// How many at most; 0 for all
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// Which hub, and what authorises us there.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The hub")]
pub struct AtHub {
    /// Its address [default: the first in hubs.toml, else the one that `rocbed hub` runs on this machine]
    #[arg(long, value_name = "URL", env = "ROCBED_HUB", hide_env_values = true)]
    pub hub: Option<String>,
    /// The admin token; a file is safer, because others see command lines [default: from where the address is]
    #[arg(long, value_name = "TOKEN", env = "ROCBED_TOKEN", hide_env_values = true)]
    pub token: Option<Secret>,
    /// A file with the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Trust certificates that this authority has signed (PEM)
    #[arg(long, value_name = "FILE", env = "ROCBED_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
}
