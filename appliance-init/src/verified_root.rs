//! A root of which the kernel checks each block when it reads it: dm-verity, by the root hash that the command line names
//! (`rocbed.root-verity=`, crate `verity`).
//!
//! The device with the root has the hash tree too, wherever it is: a partition, a whole disk, a root from the network. A block
//! that is not what was built is an I/O error for the program that reads it; nobody ever gets other bytes. The machine goes on,
//! since the block may be one that nothing needs, and says it.
//!
//! The device stays until the machine ends, as the one below it does.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use advice::Advice;
use appliance::block::{self, BlockDevice};
use appliance::cmdline::CommandLine;
use verity::{BLOCK, Protection, Superblock, SuperblockError, table};

use crate::device_mapper::DeviceMapper;
use crate::fatal::Fatal;
use crate::search::Search;

/// The module, and with it those that it needs.
const MODULE: &str = "dm-verity";

/// Bytes of the tree that are read at once, with what is needed.
const PREFETCH: &str = "/sys/module/dm_verity/parameters/prefetch_cluster";

/// Name of the target.
const TARGET: &str = "verity";

/// Name of the device for device-mapper.
const NAME: &str = "rocbed-root";

/// The first letter of the target's status once a block was wrong (verity.rst, "Status").
const CORRUPTED: char = 'C';

/// What to do about a root that has another content than it should.
const OTHER_ROOT: &str = "take kernel, initramfs, root and command line from one image, and write it again. If that does not help \
                          the medium is broken, or somebody changed it";

/// What to do about an error of a step.
const BUG: &str = "report this as a bug of rocbed, with this text; rocbed.root-verity= on the command line, with nothing behind it, goes without";

/// Makes a device that checks what is read from the root. Returns the root itself if the command line names no root hash.
///
/// # Errors
///
/// If there is no hash tree, if it is over another root, or if the kernel refuses a step.
pub(crate) fn protect(root: BlockDevice, line: &CommandLine, search: &mut Search) -> Result<BlockDevice, Fatal> {
    let Some(word) = &line.root_verity else { return Ok(root) };
    let protection: Protection = word.parse().map_err(|error| {
        let what = format!("rocbed.root-verity={word}: {error}");
        Fatal::new(what, "take the command line of the image, as it stands in `cmdline` beside its root")
    })?;
    let name = &root.name;
    let superblock = superblock(&search.paths.dev.join(name), &protection)?;
    search.load(MODULE);
    if line.root_index_sha256.is_some() {
        // By itself dm-verity reads 256 KiB of the tree where it needs 4, which over the network are chunks that do not compress.
        let set = search.system.write_file(Path::new(PREFETCH), "0");
        set.unwrap_or_else(|error| search.console.say(&format!("setting {PREFETCH}: {error}; going on without")));
    }
    let failed = |step: &str, error: io::Error| Fatal::new(format!("{step} /dev/{name} (dm-verity): {error}"), BUG);
    let table = table(&root.number, &protection, &superblock);
    let made = DeviceMapper::open(&search.paths.dev)
        .and_then(|mapper| mapper.create(NAME, TARGET, table.sectors, &table.parameters))
        .map_err(|error| failed("having the kernel check", error))?;
    let checked = block::read(&search.paths.sys.join("class/block").join(&made))
        .ok_or_else(|| failed("looking for the checked device of", io::ErrorKind::NotFound.into()))?;
    // The top of the tree is checked with it.
    let mut first = [0; BLOCK];
    if let Err(error) = File::open(search.paths.dev.join(&made)).and_then(|mut file| file.read_exact(&mut first)) {
        let what = format!(
            "the root on /dev/{name} is not the one that rocbed.root-verity= names, and is not started: {error}"
        );
        return Err(
            Fatal::new(what, OTHER_ROOT).with_details(vec![format!("root hash wanted {}", protection.root_hash)])
        );
    }
    let now = search.system.uptime().as_secs_f64();
    search.console.say(&format!("root: each block is checked (dm-verity) from {now:.2} s on"));
    Ok(checked)
}

/// Reads the superblock behind the data.
fn superblock(device: &Path, protection: &Protection) -> Result<Superblock, Fatal> {
    let mut bytes = [0; Superblock::LENGTH];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut bytes, protection.size));
    let end = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SuperblockError::Signature.to_string(),
        _ => format!("reading its hash tree: {error}"),
    };
    let found = match read {
        Ok(()) => Superblock::parse(&bytes, protection).map_err(|error| error.to_string()),
        Err(error) => Err(end(error)),
    };
    found.map_err(|reason| {
        let what = format!("the root on {} is not the one that rocbed.root-verity= names: {reason}", device.display());
        Fatal::new(what, OTHER_ROOT)
    })
}

/// The checked root, as PID 1 looks after it.
pub struct VerifiedRoot {
    /// Asks the kernel for the target's status.
    status: Box<dyn Fn() -> io::Result<String>>,
}

impl VerifiedRoot {
    /// Finds it; `None` if the root is not checked.
    pub fn find(line: &CommandLine) -> Option<Self> {
        line.root_verity.as_ref()?;
        let mapper = DeviceMapper::open(Path::new("/dev"));
        Some(Self::with(move || match &mapper {
            Ok(mapper) => mapper.status(NAME),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }))
    }

    /// One with this status.
    pub(crate) fn with(status: impl Fn() -> io::Result<String> + 'static) -> Self {
        Self { status: Box::new(status) }
    }

    /// What is wrong with it, if something is: blocks were wrong since the start, or the kernel does not say.
    pub fn problem(&self) -> Option<Advice> {
        match (self.status)() {
            Ok(status) if status.starts_with(CORRUPTED) => Some(Advice::new(
                "the root is damaged: blocks of it are not what was built, and programs that read them get an I/O error",
                "write the image again, or restart the machine if its root comes over the network; the kernel's log names the blocks",
            )),
            Ok(_) => None,
            Err(error) => Some(Advice::new(
                format!("asking the kernel whether the root is damaged: {error}"),
                "its log says it; report this as a bug of rocbed, with this text",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Console;
    use crate::drivers::Drivers;
    use crate::search::SystemPaths;
    use crate::system::recording::Recording;
    use appliance::fixtures::add_disk;
    use verity::HashTree;

    /// A root of two blocks with its tree, as a file.
    fn root() -> io::Result<(tempfile::NamedTempFile, Protection)> {
        let data = [7; 2 * BLOCK];
        let tree = HashTree::new([1; 16]);
        tree.add(0, &data);
        let (behind, protection) = tree.finish(data.len() as u64, [2; 16]).map_err(io::Error::other)?;
        let file = tempfile::NamedTempFile::new()?;
        file.as_file().write_all_at(&data, 0)?;
        file.as_file().write_all_at(&behind, protection.size)?;
        Ok((file, protection))
    }

    #[test]
    fn the_tree_is_found_behind_the_data() -> Result<(), Box<dyn std::error::Error>> {
        let (file, protection) = root()?;
        assert_eq!(superblock(file.path(), &protection)?.salt, [1; 16]);
        Ok(())
    }

    /// The root as device `sda2` of a machine without device-mapper, with this command line.
    fn protected(line: &str) -> io::Result<Result<BlockDevice, Fatal>> {
        let machine = tempfile::tempdir()?;
        let (file, _) = root()?;
        std::fs::copy(file.path(), machine.path().join("sda2"))?;
        add_disk(machine.path(), "sda", &[("sda2", "bbbb")])?;
        let device = block::read(&machine.path().join("class/block/sda2")).ok_or(io::ErrorKind::NotFound)?;
        let paths = SystemPaths { sys: machine.path().to_owned(), dev: machine.path().to_owned() };
        let drivers = Drivers::new("/m".into(), kmod::ModuleSet::default());
        let (mut system, mut console) = (Recording::default(), Console::nowhere());
        let mut search = Search::new(paths, drivers, &[], &mut system, &mut console);
        Ok(protect(device, &CommandLine::parse(line), &mut search))
    }

    #[test]
    fn what_the_command_line_says_is_never_passed_over() -> Result<(), Box<dyn std::error::Error>> {
        for line in ["quiet", "rocbed.root-verity="] {
            assert_eq!(protected(line)??.name, "sda2", "{line}");
        }
        let (_, protection) = root()?;
        for (word, says) in [
            ("8192:abc".to_owned(), "rocbed.root-verity=8192:abc: it is not a size"),
            (
                format!("4096:{}", protection.root_hash),
                "is not the one that rocbed.root-verity= names: there is no hash tree",
            ),
            (protection.to_string(), "having the kernel check /dev/sda2 (dm-verity): No such file"),
        ] {
            let error = protected(&format!("rocbed.root-verity={word}"))?.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        Ok(())
    }

    #[test]
    fn a_root_without_its_tree_is_refused() -> io::Result<()> {
        let (file, protection) = root()?;
        let told = |protection| superblock(file.path(), &protection).map(drop).unwrap_err().to_string();
        let shorter = told(Protection { size: BLOCK as u64, ..protection });
        assert!(shorter.ends_with("names: there is no hash tree"), "{shorter}");
        file.as_file().set_len(protection.size)?;
        let cut = told(protection);
        assert!(cut.ends_with("names: there is no hash tree"), "{cut}");
        std::fs::remove_file(file.path())?;
        let gone = told(protection);
        assert!(gone.contains("reading its hash tree: No such file"), "{gone}");
        Ok(())
    }
}
