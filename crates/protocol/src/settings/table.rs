//! The table of all settings.

use super::{Scope, Setting, ValueKind};

macro_rules! settings {
    ($($key:ident $name:literal $kind:expr, $scope:expr, $default:literal, $meaning:literal;)*) => {
        /// Identifies a setting. For `match` without `_`, so that no setting is forgotten.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key {
            $(#[doc = $meaning] $key,)*
        }

        /// All settings, in the order of the reference page.
        pub const ALL: &[Setting] = &[$(Setting {
            key: Key::$key,
            name: $name,
            kind: $kind,
            scope: $scope,
            default: $default,
            meaning: $meaning,
        },)*];
    };
}

settings! {
    Name "name" ValueKind::HostName, Scope::Everybody,
        "the DHCP server's, else made from the network card's address",
        "The machine's name.";
    Hub "hub" ValueKind::Url, Scope::Everybody,
        "none",
        "Address of the hub to take jobs from: `https://hub.example:8420`.";
    JoinToken "join-token" ValueKind::Token, Scope::Everybody,
        "none",
        "What makes the machine a worker of the hub; the hub prints it at its start. Needed until the hub has given the machine a token of its own, which is kept in the data directory.";
    HubCa "hub-ca" ValueKind::Authority, Scope::Everybody,
        "the system's authorities",
        "The authority that has signed the hub's certificate, besides the system's.";
    Jobs "jobs" ValueKind::Url, Scope::Everybody,
        "none",
        "Address of a job list on any web server, for those who want no hub: `https://ci.example/jobs.toml`.";
    Results "results" ValueKind::Url, Scope::Everybody,
        "none",
        "Address below which the results of that list's jobs are put: `https://ci.example/results`. Needed with `jobs`.";
    Debci "debci" ValueKind::Broker, Scope::Everybody,
        "none",
        "Address of a debci server's message broker to take jobs from: `amqps://user:password@ci.example/vhost`.";
    DebciSuite "debci-suite" ValueKind::Words, Scope::Everybody,
        "`unstable` and `sid`",
        "Suites whose jobs are run, as debci names them. Jobs for others are refused. Testbeds are what the image was made from.";
    DebciArch "debci-arch" ValueKind::Name, Scope::Everybody,
        "`amd64`",
        "Architecture, to which each GPU's target is added: jobs are taken for `amd64+gfx1030`.";
    DebciBackend "debci-backend" ValueKind::Name, Scope::Everybody,
        "`lxc`",
        "The backend whose queues are read: the server's `debci_backend`.";
    DebciApi "debci-api" ValueKind::Url, Scope::Everybody,
        "nobody is asked",
        "Address of the server's web pages: `https://ci.example`. Before a job is run, it is asked whether the job still waits.";
    DebciCa "debci-ca" ValueKind::Authority, Scope::Everybody,
        "the system's authorities",
        "The authority that has signed the certificates of the broker and of `debci-api`, besides the system's.";
    DebciCertificate "debci-certificate" ValueKind::Authority, Scope::Everybody,
        "none",
        "The machine's certificate, for a broker that asks for one. Needs `debci-key`.";
    DebciKey "debci-key" ValueKind::PrivateKey, Scope::Everybody,
        "none",
        "The key of that certificate, without a passphrase.";
    Storage "storage" ValueKind::Storage, Scope::Everybody,
        "none",
        "Bucket of S3-compatible storage that result bundles are put into besides: `s3+https://HOST/BUCKET/PREFIX`. With a hub it is not needed: the hub has a bucket of its own.";
    StorageKeyId "storage-key-id" ValueKind::Secret, Scope::Everybody,
        "none",
        "Id of the key that the storage has given out. Needed with `storage`.";
    StorageKey "storage-key" ValueKind::Secret, Scope::Everybody,
        "none",
        "The secret of that key. Needed with `storage`.";
    StorageCa "storage-ca" ValueKind::Authority, Scope::Everybody,
        "the system's authorities",
        "The authority that has signed the storage's certificate, besides the system's.";
    WhenDone "when-done" ValueKind::OneOf(&["wait", "power-off"]), Scope::Everybody,
        "`wait`",
        "What the machine does without jobs: wait for more, or switch itself off. With a hub that is when it had no job that fits for 10 s; results are delivered first.";
    Ip "ip" ValueKind::Links, Scope::Everybody,
        "DHCP on every wired link",
        "Fixed addresses, one word for each link, as the kernel's own `ip=`, which does the same.";
    Dns "dns" ValueKind::Addresses, Scope::Everybody,
        "those that DHCP names",
        "Name servers, before those that DHCP names.";
    Ntp "ntp" ValueKind::Words, Scope::Everybody,
        "those that DHCP names",
        "Time servers, instead of those that DHCP names.";
    SetClock "set-clock" ValueKind::Bool, Scope::Everybody,
        "yes",
        "Whether the clock is set from the network.";
    Mirror "mirror" ValueKind::Url, Scope::Everybody,
        "the image's",
        "Debian mirror in testbeds.";
    Proxy "proxy" ValueKind::Url, Scope::Everybody,
        "none",
        "HTTP proxy that apt in testbeds goes through: `http://proxy.example:3128`, or `http://name:password@proxy.example:3128`, which tests can read.";
    CheckValidUntil "check-valid-until" ValueKind::Bool, Scope::Everybody,
        "yes",
        "Whether apt in testbeds refuses a Release file that is past its date.";
    Gpu "gpu" ValueKind::Gpus, Scope::Everybody,
        "real ones",
        "GPUs to simulate. Results say `simulated`.";
    LeaveOut "leave-out" ValueKind::Words, Scope::Everybody,
        "none",
        "GPUs that get no jobs: ids (PCI addresses) or unique ids, as `rocbed detect` shows them.";
    SimulateFaults "simulate-faults" ValueKind::Bool, Scope::Everybody,
        "no",
        "Whether simulated GPUs take simulated faults: records of `/dev/kmsg` that begin with `rocbed-simulated-fault: `, and what a job's variable `ROCBED_SIMULATE_FAULT` names. Without effect on real GPUs.";
    OverlaySize "overlay-size" ValueKind::Memory, Scope::Everybody,
        "`50%`",
        "Memory that a testbed's changes may take.";
    TestbedMemory "testbed-memory" ValueKind::Memory, Scope::Everybody,
        "`90%`",
        "Memory that a testbed may use, its changes and other files in memory included: a size, or a part of what is available when it is made. Beyond it the kernel ends a process of the test, and the result says so.";
    JobsAtOnce "jobs-at-once" ValueKind::Count, Scope::Everybody,
        "one for each GPU",
        "How many jobs run at the same time at most; the machine's memory is divided by it. Without it there are also jobs without GPUs beside the others, where the machine has 4 processors and 8 GiB of memory for each job.";
    Packages "packages" ValueKind::Words, Scope::Everybody,
        "all",
        "Source packages that the machine tests, as the owner allows it: `rocrand`, or `hip*` for all that begin so. Jobs for others are given back.";
    LongestJob "longest-job" ValueKind::SpanOrOff, Scope::Everybody,
        "`off`",
        "The most time that a job has, whatever it asks for. Then what there is of its results is delivered, as `timeout`.";
    Hours "hours" ValueKind::Hours, Scope::Everybody,
        "always",
        "When the machine takes jobs, in UTC; an offset at the end, `+01:00`, is for another time zone. Days are those on which a time begins. A job that runs at the end is given back, and one that usually takes longer than is left does not begin.";
    WhenIdle "when-idle" ValueKind::OneOf(&["stay", "power-off", "suspend"]), Scope::Everybody,
        "`stay`",
        "What the machine does when it has run no job for `idle-after`, in its hours or outside of them: stay on, switch itself off, or sleep (suspend to memory). Its clock wakes it for its next hours, where it can; without `hours` a person has to.";
    IdleAfter "idle-after" ValueKind::Span, Scope::Everybody,
        "`10m`",
        "How long the machine has no job before it does what `when-idle` says.";
    TestNetwork "test-network" ValueKind::OneOf(&["machine", "archive"]), Scope::Everybody,
        "`machine`",
        "The network of tests: the machine's, or one of their own, from which only the package archives (of the image, and `mirror`) and `test-hosts` can be reached, by HTTP and HTTPS. It excludes `proxy`.";
    TestHosts "test-hosts" ValueKind::Words, Scope::Everybody,
        "none",
        "Hosts that tests may reach besides, with `test-network = \"archive\"`: `snapshot.debian.org`, `data.lab:8080`.";
    Watchdog "watchdog" ValueKind::SpanOrOff, Scope::Everybody,
        "`2m`",
        "After how long without a sign of life the machine is reset.";
    DebugShell "debug-shell" ValueKind::Bool, Scope::Recipe,
        "no",
        "Whether a root shell may be had at the console.";
    Shell "shell" ValueKind::Bool, Scope::Everybody,
        "no",
        "A root shell on the first serial console, where the recipe has `debug-shell = true`.";
    Recipe "recipe" ValueKind::Text, Scope::Build,
        "none",
        "The recipe that the image was made from; results name it.";
    RootUuid "root-uuid" ValueKind::Text, Scope::CommandLine,
        "what `root=` says",
        "UUID of the file system to take as the root, over `root=`.";
    RootTimeout "root-timeout" ValueKind::Seconds, Scope::CommandLine,
        "60; 600 for a root that is fetched",
        "How long to wait for the root, for the network, and for a byte of a root that is fetched.";
    RootUrl "root-url" ValueKind::Url, Scope::CommandLine,
        "the root is on a disk",
        "Where to fetch the root from. `rocbed netboot` writes it.";
    RootSha256 "root-sha256" ValueKind::Sha256, Scope::CommandLine,
        "none; `root-url` needs it",
        "SHA-256 of the root that is fetched.";
    RootIndexSha256 "root-index-sha256" ValueKind::Sha256, Scope::CommandLine,
        "the root is fetched whole",
        "SHA-256 of the index of the root, `root.index` in the directory of `root-url`. With it the root is not fetched before the start but read when it is needed. `rocbed netboot` writes it.";
    RootVerity "root-verity" ValueKind::Text, Scope::CommandLine,
        "the root is read as it is",
        "Size of the root's file system in bytes, a colon, and the root hash of the dm-verity tree behind it: the kernel checks each block that it reads. `rocbed build` writes it; with nothing behind the `=` nothing is checked.";
    BootReport "boot-report" ValueKind::Url, Scope::CommandLine,
        "nobody is told",
        "Where to tell how the start went. `rocbed netboot` writes it.";
    TestbedDisk "testbed-disk" ValueKind::Text, Scope::CommandLine,
        "none: the machine is a worker",
        "UUID of an ext4 file system that takes all changes to the root, instead of memory. The machine is a bare testbed then: it looks for no jobs and runs the commands that come over a virtio-serial port. `autopkgtest-virt-rocbed --vm` writes it.";
    Blacklist "blacklist" ValueKind::Words, Scope::CommandLine,
        "none",
        "Kernel modules never to load, as the kernel's own `module_blacklist=`, which does the same.";
    PanicTimeout "panic-timeout" ValueKind::Seconds, Scope::CommandLine,
        "10",
        "How long an error screen stands before the machine restarts; 0 is for ever.";
}

macro_rules! kernel_parameters {
    ($($parameter:ident $name:literal $meaning:literal;)*) => {
        /// Identifies a kernel parameter that the appliance reads as well.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum KernelParameter {
            $(#[doc = $meaning] $parameter,)*
        }

        /// All kernel parameters that it reads: the parameter, its name, and its effect in Markdown.
        pub const KERNEL_PARAMETERS: &[(KernelParameter, &str, &str)] = &[$((KernelParameter::$parameter, $name, $meaning),)*];
    };
}

kernel_parameters! {
    Root "root" "Where the root is: `PARTUUID=`, `PARTLABEL=`, `UUID=`, `LABEL=`, `/dev/NAME` or `MAJOR:MINOR`.";
    RootFsType "rootfstype" "The root's file system; without it, what its superblock says.";
    RootFlags "rootflags" "Options for mounting the root.";
    RootWait "rootwait" "A number of seconds as in `rocbed.root-timeout=`; without one, the root is waited for without end.";
    ModuleBlacklist "module_blacklist" "Kernel modules never to load, with commas between.";
    Ip "ip" "Fixed addresses, one word for each link.";
}

/// The kernel parameter with this name. `_` and `-` are the same to the kernel.
pub fn kernel_parameter(name: &str) -> Option<KernelParameter> {
    let dashed = name.replace('_', "-");
    KERNEL_PARAMETERS.iter().find(|(_, known, _)| known.replace('_', "-") == dashed).map(|(parameter, ..)| *parameter)
}
