//! Errors as the commands show them: [`report`] takes one apart into message, causes and help.

use std::error::Error;

use advice::{Help, Report, help_of};

/// The libraries' and this program's error types that have help.
const WITH_HELP: &[fn(&(dyn Error + 'static)) -> Option<Help>] = &[
    help_of::<archive::policy::PolicyError>,
    help_of::<archive::release::KeyringError>,
    help_of::<archive::release::ReleaseError>,
    help_of::<archive::release::VerifyError>,
    help_of::<archive::solve::SolveError>,
    help_of::<client::ClientError>,
    help_of::<crate::lock::LockError>,
    help_of::<crate::recipe::RecipeError>,
    help_of::<diskimage::fat::FatError>,
    help_of::<diskimage::gpt::GptError>,
    help_of::<diskimage::uki::UkiError>,
    help_of::<fsimage::cpio::WriteError>,
    help_of::<fsimage::ext4::WriteError>,
    help_of::<gpu::SimulateError>,
    help_of::<gpusim::MachineError>,
    help_of::<hub::HubError>,
    help_of::<netboot::NetbootError>,
    help_of::<protocol::BrokerAddressError>,
    help_of::<protocol::ListError>,
    help_of::<protocol::ResultError>,
    help_of::<protocol::settings::SettingError>,
    help_of::<rootfs::Error>,
    help_of::<rootfs::sandbox::SandboxError>,
    help_of::<runner::Error>,
    help_of::<s3::S3Error>,
    help_of::<stick::collect::CollectError>,
    help_of::<stick::fit::FitError>,
    help_of::<stick::image::ImageError>,
    help_of::<stick::refuse::Refusal>,
    help_of::<stick::settings::SettingsError>,
    help_of::<stick::source::SourceError>,
    help_of::<stick::target::TargetError>,
    help_of::<stick::write::WriteError>,
    help_of::<store::FetchError>,
    help_of::<store::LockError>,
    help_of::<store::StoreError>,
    help_of::<testbed::Error>,
    help_of::<vm::VmError>,
    help_of::<vm::vfio::VfioError>,
];

/// Takes an error apart for showing it.
pub fn report(error: &anyhow::Error) -> Report {
    Report::of(error.as_ref(), |link| WITH_HELP.iter().find_map(|help| help(link)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use anyhow::{Context as _, Result};

    use super::*;

    #[test]
    fn help_of_a_library_is_shown_below_contexts() {
        let error = anyhow::Error::new(netboot::NetbootError::NoDnsmasq).context("serving the image");
        assert_eq!(
            report(&error).to_string(),
            "serving the image\n  caused by: dnsmasq is not installed, which answers DHCP and TFTP\
             \n  help: apt install dnsmasq-base; or --no-dhcp, with a DHCP server of your own"
        );
    }

    /// All Rust files below a directory.
    fn sources(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                sources(&path, found)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
        Ok(())
    }

    #[test]
    fn every_error_type_with_help_is_known() -> Result<()> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        sources(&here.join("src"), &mut files)?;
        sources(&here.join("../crates"), &mut files)?;
        let own = include_str!("error.rs");
        let mut seen = 0;
        // The errors of these are shown by the agent and PID 1, and `advice` has the trait.
        let others = ["advice", "agent", "amqp", "appliance", "network"].map(|name| here.join("../crates").join(name));
        for file in files.iter().filter(|file| !others.iter().any(|other| file.starts_with(other))) {
            for line in fs::read_to_string(file)?.lines().filter_map(|line| line.strip_prefix("impl Advise for ")) {
                let name = line.trim_end_matches(" {");
                assert!(own.contains(&format!("::{name}>,")), "{}: {name} is not in WITH_HELP", file.display());
                seen += 1;
            }
        }
        assert_eq!(seen, WITH_HELP.len());
        Ok(())
    }
}
