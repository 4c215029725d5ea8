//! [`Compute`]: runs a small kernel on a GPU and checks its result. rocminfo(1) alone misses GPUs that hang once they
//! get work.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::command::{Answer, Limited};

/// Time limit for the kernel; a working GPU answers within a second or two.
const RUN: Duration = Duration::from_secs(30);
/// Time limit for the compiler, which may have to be read over the network.
const COMPILE: Duration = Duration::from_secs(300);

/// Adds two vectors; its exit status says whether the sum is right.
const SOURCE: &str = include_str!("vector_add.hip");

/// The test program, compiled on first use for the GPUs that are there.
#[derive(Debug)]
pub(crate) struct Compute {
    directory: PathBuf,
    compiler: Limited,
    program: Limited,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Ready,
    /// There is no compiler, or it failed: the GPUs cannot be checked.
    Impossible,
}

impl Compute {
    /// Keeps the program in this directory, in memory. `compiler` is hipcc(1).
    pub(crate) fn new(directory: &Path, compiler: &str, stop: Arc<AtomicBool>) -> Self {
        let (source, program) = (directory.join("vector_add.hip"), directory.join("vector_add"));
        let arguments = ["-O1".into(), "--offload-arch=native".into(), "-o".into(), program.clone(), source];
        Self {
            directory: directory.to_owned(),
            compiler: Limited::new(compiler, COMPILE, Arc::clone(&stop)).arguments(arguments),
            program: Limited::new(program, RUN, stop),
            state: State::New,
        }
    }

    /// Runs the program on the GPU with this index in ROCm's order.
    ///
    /// # Errors
    /// If the program cannot be written or started.
    pub(crate) fn ask(&mut self, index: usize) -> io::Result<Answer> {
        if self.state == State::New {
            fs::create_dir_all(&self.directory)?;
            fs::write(self.directory.join("vector_add.hip"), SOURCE)?;
            self.state = match self.compiler.ask()? {
                Answer::Ended { success: true, .. } => State::Ready,
                _ => State::Impossible,
            };
        }
        if self.state == State::Impossible {
            return Ok(Answer::Missing);
        }
        self.program.set("ROCR_VISIBLE_DEVICES", Some(index.to_string()));
        self.program.ask()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    /// A compiler that makes a program of this script.
    fn compute(directory: &Path, script: &str) -> Compute {
        let compiler = directory.join("hipcc");
        let text = format!("printf '#!/bin/sh\\n%s\\n' '{script}' > \"$4\" && chmod +x \"$4\"");
        appliance::fixtures::program(&compiler, &text).unwrap();
        Compute::new(&directory.join("check"), compiler.to_str().unwrap(), Arc::default())
    }

    #[test]
    fn each_gpu_is_asked_by_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let mut compute = compute(directory.path(), "echo $ROCR_VISIBLE_DEVICES; test $ROCR_VISIBLE_DEVICES != 1");
        assert_eq!(compute.ask(0).unwrap(), Answer::Ended { success: true, output: "0\n".into() });
        assert_eq!(compute.ask(1).unwrap(), Answer::Ended { success: false, output: "1\n".into() });
    }

    #[test]
    fn without_hip_nothing_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let mut compute = Compute::new(directory.path(), "/nonexistent/hipcc", Arc::default());
        assert_eq!(compute.ask(0).unwrap(), Answer::Missing);
    }
}
