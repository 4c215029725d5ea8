//! Loads drivers by modalias, from the modules of the initramfs or of the root.

use std::io;
use std::path::{Path, PathBuf};

use kmod::{Kernel, LoadReport, Loader, ModuleSet, Parameters};
use rustix::io::Errno;

use crate::fatal::Fatal;
use crate::system::System;
use appliance::cmdline::CommandLine;

/// Loads modules from one directory.
#[derive(Debug, Clone)]
pub struct Drivers {
    directory: PathBuf,
    parameters: Parameters,
    loader: Loader,
}

/// Hands module files to the kernel.
struct ModuleFiles<'a> {
    directory: &'a Path,
    parameters: &'a Parameters,
    system: &'a mut dyn System,
}

impl Kernel for ModuleFiles<'_> {
    fn load(&mut self, path: &str) -> io::Result<()> {
        let module = kmod::module_name(path).unwrap_or_default();
        self.system.load_module(&self.directory.join(path), self.parameters.of(&module))
    }
}

impl Drivers {
    /// The modules in a kernel's directory, `/usr/lib/modules/VERSION`, with the blacklist and parameters from the
    /// command line. A directory without modules is fine: everything may be built in.
    pub fn of_kernel(release: &str, line: &CommandLine) -> Result<Self, Fatal> {
        let directory = Path::new("/usr/lib/modules").join(release);
        let set = read_modules(&directory, &line.blacklist)?;
        Ok(Self { parameters: line.module_parameters.clone(), ..Self::new(directory, set) })
    }

    /// The modules in a directory whose index was read.
    pub fn new(directory: PathBuf, set: ModuleSet) -> Self {
        Self { directory, parameters: Parameters::default(), loader: Loader::new(set) }
    }

    /// Marks modules as loaded that `/proc/modules` (`proc_modules(5)`) lists.
    pub fn skip_loaded(&mut self, proc_modules: &str) {
        self.loader.skip(proc_modules.lines().filter_map(|line| line.split(' ').next()));
    }

    /// The number of modules.
    pub fn count(&self) -> usize {
        self.loader.modules().len()
    }

    /// Does not load modules below these directories yet, even if devices need them.
    pub fn defer<'a>(&mut self, directories: impl IntoIterator<Item = &'a str>) {
        self.loader.defer(directories);
    }

    /// Loads a module by its name. Returns the errors.
    pub fn load(&mut self, name: &str, system: &mut dyn System) -> Vec<String> {
        let Self { directory, parameters, loader } = self;
        problems(&loader.load(name, &mut ModuleFiles { directory, parameters, system }))
    }

    /// Loads the modules for a device. Returns the errors.
    pub fn load_alias(&mut self, alias: &str, system: &mut dyn System) -> Vec<String> {
        let Self { directory, parameters, loader } = self;
        problems(&loader.load_alias(alias, &mut ModuleFiles { directory, parameters, system }))
    }
}

fn problems(report: &LoadReport) -> Vec<String> {
    // With "No such device" drivers say that the hardware is not theirs after all.
    let worth_telling = |code| code != Some(Errno::NODEV.raw_os_error());
    let failed = report.failed.iter().filter(|error| worth_telling(error.source.raw_os_error()));
    failed.map(ToString::to_string).collect()
}

fn read_modules(directory: &Path, blacklist: &[String]) -> Result<ModuleSet, Fatal> {
    let failed = |error: &dyn std::fmt::Display| {
        Fatal::new(format!("reading the modules in {}: {error}", directory.display()), "build the image again")
    };
    let read = |name| match std::fs::read(directory.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(&error)),
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    };
    let (dep, alias, softdep) = (read("modules.dep")?, read("modules.alias")?, read("modules.softdep")?);
    let mut set = ModuleSet::parse(&dep, &alias, &softdep).map_err(|error| failed(&error))?;
    set.blacklist(blacklist.iter().map(String::as_str));
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::recording::Recording;

    #[test]
    fn a_device_brings_its_driver_and_what_that_needs() {
        let dep = "kernel/net/core/failover.ko:\nkernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko\n";
        let set = ModuleSet::parse(dep, "alias virtio:d00000001v* virtio_net\n", "").unwrap();
        let mut drivers = Drivers::new("/m".into(), set);
        let mut system = Recording { fails: vec!["module /m/kernel/drivers"], ..Recording::default() };
        let problems = drivers.load_alias("virtio:d00000001v00001AF4", &mut system);
        let expected = ["module /m/kernel/net/core/failover.ko", "module /m/kernel/drivers/net/virtio_net.ko"];
        assert_eq!(system.calls, expected);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("virtio_net"), "{problems:?}");
    }

    #[test]
    fn a_driver_gets_its_words_of_the_command_line() {
        let dep = "kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz: kernel/drivers/gpu/drm/drm-buddy.ko.xz\n\
            kernel/drivers/gpu/drm/drm-buddy.ko.xz:\n";
        let set = ModuleSet::parse(dep, "", "").unwrap();
        let parameters = Parameters::from_command_line("quiet amdgpu.runpm=0 amdgpu.noretry=0");
        let mut drivers = Drivers { parameters, ..Drivers::new("/m".into(), set) };
        let mut system = Recording::default();
        assert_eq!(drivers.load("amdgpu", &mut system), Vec::<String>::new());
        let expected = [
            "module /m/kernel/drivers/gpu/drm/drm-buddy.ko.xz",
            "module /m/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz runpm=0 noretry=0",
        ];
        assert_eq!(system.calls, expected);
    }
}
