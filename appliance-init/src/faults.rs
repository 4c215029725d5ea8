//! `rocbed-init faults`: shows what a kernel log says about GPUs; `docs/rocbed-init.md` says how to use it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use advice::{Advise, Help, Report, help_of};
use gpu::messages::Findings;

const USAGE: &str = "\
Says what a kernel log tells about GPUs: faults, resets, GPUs that did not start.

Usage: rocbed-init faults [FILE|-] [--json]

  FILE    a log, as dmesg or journalctl -k print it, or records of /dev/kmsg; - is standard input;
          without it the running kernel's log is read
  --json  print JSON: an array, empty where nothing is wrong

Exits with 0 whether there are faults or not, with 2 if it could not read the log.
";

/// The reason why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// An unknown option, or a second file.
    #[error("{0}")]
    Usage(String),
    /// The log can't be read.
    #[error("can't read {what}: {source}")]
    Read {
        /// The log's path.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The result could not be written.
    #[error("can't write the result: {0}")]
    Write(#[from] io::Error),
}

impl Advise for FaultsError {
    fn help(&self) -> Help {
        match self {
            Self::Usage(_) => "see rocbed-init faults --help".into(),
            Self::Read { .. } | Self::Write(_) => Help::none(),
        }
    }
}

/// Runs the command with the arguments after its name. Returns the exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    match run(arguments, &mut io::stdout().lock()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("rocbed-init: {}", Report::of(&error, help_of::<FaultsError>));
            2
        }
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>, output: &mut impl Write) -> Result<(), FaultsError> {
    let (mut json, mut file) = (false, None);
    for argument in arguments {
        match argument.to_string_lossy().as_ref() {
            "--help" | "-h" => return Ok(output.write_all(USAGE.as_bytes())?),
            "--json" => json = true,
            option if option.starts_with("--") => {
                return Err(FaultsError::Usage(format!("there is no option {option}")));
            }
            other if file.is_some() => return Err(FaultsError::Usage(format!("{other} is one file too many"))),
            _ => file = Some(PathBuf::from(argument)),
        }
    }
    let findings = match &file {
        Some(file) => {
            Findings::of_file(file).map_err(|source| FaultsError::Read { what: file.display().to_string(), source })?
        }
        None => Findings::of_this_machine()
            .map_err(|source| FaultsError::Read { what: "the kernel's log".into(), source })?,
    };
    if json {
        serde_json::to_writer_pretty(&mut *output, &findings).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        write!(output, "{findings}")?;
    }
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(log: &str, options: &[&str]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dmesg.txt");
        std::fs::write(&path, log).unwrap();
        let mut output = Vec::new();
        run([path.into_os_string()].into_iter().chain(options.iter().map(OsString::from)), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_fault_is_told_with_the_device_and_what_to_do() {
        let log = "[ 1.0] usb 1-1: new device\n[ 2.0] amdgpu 0000:03:00.0: amdgpu: GPU reset begin!\n";
        let text = faults(log, &[]);
        assert!(text.starts_with("reset, GPU 0000:03:00.0\n  what to do: "), "{text}");
        let json: serde_json::Value = serde_json::from_str(&faults(log, &["--json"])).unwrap();
        assert_eq!((&json[0]["kind"], &json[0]["device"]), (&"reset".into(), &"0000:03:00.0".into()));
        assert_eq!((&json[0]["contained"], &json[0]["count"]), (&false.into(), &1.into()));
        assert_eq!(json[0]["entry"], "GPU reset begin");
    }

    #[test]
    fn a_log_without_faults_is_an_empty_array() {
        assert_eq!(faults("[ 1.0] usb 1-1: new device\n", &["--json"]), "[]\n");
        assert!(faults("", &[]).starts_with("Nothing in this log"));
    }

    #[test]
    fn mistakes_are_named() {
        let error =
            |arguments: &[&str]| run(arguments.iter().map(OsString::from), &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(error(&["--jsno"]), "there is no option --jsno");
        assert!(error(&["a", "b"]).starts_with("b is one file too many"));
        assert!(error(&["/nonexistent"]).starts_with("can't read /nonexistent: "));
    }
}
