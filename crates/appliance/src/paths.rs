//! Paths in a running appliance: what its own programs use below /run/rocbed and /var/lib/rocbed.

/// The root image, mounted read-only by the first stage; testbeds are made over it.
pub const IMAGE: &str = "/run/rocbed/root";

/// The tmpfs that holds all changes to the root of the running system.
pub const OVERLAY: &str = "/run/rocbed/overlay";

/// The running rocbed-init: the initramfs's own file, bind-mounted here. So it does not matter whether the root has
/// one, and in which version, and pages that are in memory already are reused.
pub const PROGRAM: &str = "/run/rocbed/rocbed-init";

/// The name under which the kernel starts rocbed-init to load modules.
pub const MODPROBE: &str = "/run/rocbed/modprobe";

/// A file that exists once the network can be used.
pub const ONLINE: &str = "/run/rocbed/online";

/// Settings of the image, as the first stage found them in the initramfs.
pub const IMAGE_SETTINGS: &str = "/run/rocbed/image.toml";

/// Settings from the stick, copied by the second stage.
pub const STICK_SETTINGS: &str = "/run/rocbed/stick.toml";

/// Why the stick's settings could not be read, if so.
pub const STICK_SETTINGS_PROBLEM: &str = "/run/rocbed/stick.problem";

/// Mount point of the stick's EFI system partition, read-only; mounted as long as there are jobs on it.
pub const ESP: &str = "/run/rocbed/esp";

/// The job list on the EFI system partition, relative to [`ESP`].
pub const JOB_LIST: &str = "jobs.toml";

/// Directory for results, and bundles that wait for delivery: the stick's data partition, or memory without one.
pub const DATA: &str = "/var/lib/rocbed";

/// A file that exists if [`DATA`] is on a disk and survives a restart.
pub const DATA_IS_KEPT: &str = "/run/rocbed/data";

/// The IP addresses with which a root from the network was fetched, for the second stage.
pub const NETROOT_ADDRESSES: &str = "/run/rocbed/addresses";

/// The directory of the process that serves a root that is read over the network, and its root directory.
pub const ROOT_SERVER: &str = "/run/rocbed/root-server";

/// The root as a file, as that process serves it.
pub const ROOT_FILE: &str = "/run/rocbed/root.img";

/// Mount point of the firmware's variables, read-only; mounted while one is read.
pub const EFI_VARIABLES: &str = "/run/rocbed/efivars";

/// A file with the GUID of the partition that the firmware started, for the second stage.
pub const START_PARTITION: &str = "/run/rocbed/start-partition";

/// Directory for the program that runs a kernel on a GPU, to see whether the GPU works.
pub const GPU_CHECK: &str = "/run/rocbed/gpu-check";

/// The certificate authority of the hub, if the settings name one.
pub const HUB_CA: &str = "/run/rocbed/hub-ca.pem";

/// The certificate authority of the storage, likewise.
pub const STORAGE_CA: &str = "/run/rocbed/storage-ca.pem";

/// The layer with apt's package lists, fetched once for all testbeds of this appliance.
pub const APT: &str = "/run/rocbed/apt";
