//! `rocbed boot`: an image in QEMU.

use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use progress::Progress as _;
use vm::{Accelerator, Boot as Start, Bus, Disk, End, Exit, Machine};

use super::print;
use crate::build::publish::SUMS;
use crate::cmdline::{Boot, DiskKind, Firmware};
use crate::context::Context;

/// Exit code of an appliance that did not come to its end (autopkgtest's "testbed failed").
const TESTBED_FAILED: u8 = 16;

pub fn run(context: &Context, options: &Boot) -> Result<u8> {
    let image = &options.image;
    ensure!(
        image.join(SUMS).is_file(),
        "{} holds no complete image: there is no {SUMS} in it\n  help: `rocbed build` makes one; give the directory, such as images/smoke",
        image.display()
    );
    let choice = Accelerator::probe(Some(&context.cache_directory()?)).context("looking for a way to run QEMU")?;
    let name = match choice.accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG",
    };
    context.reporter.say(&format!("accelerator: {name} ({})", choice.reason));
    let exit = start(choice.accelerator, options)?;
    let exit = if matches!(exit.end, End::KvmFailed) {
        context.reporter.say("KVM gave up on this machine; starting it again with TCG");
        start(Accelerator::Tcg, options)?
    } else {
        exit
    };
    match exit.end {
        End::Exited(0) => {
            context.reporter.say(&format!("the machine ended after {:.1} s", exit.elapsed.as_secs_f64()));
            Ok(0)
        }
        End::Deadline => {
            context.reporter.warn(&format!(
                "the machine was still running after {} s and was ended\n  help: --timeout gives it longer",
                options.timeout
            ));
            Ok(TESTBED_FAILED)
        }
        end => {
            let how = match end {
                End::Exited(code) => format!("QEMU ended with exit code {code}"),
                End::Signal(signal) => format!("QEMU was killed by signal {signal}"),
                _ => "QEMU was stopped".to_owned(),
            };
            context.reporter.warn(&format!("{how}\n{}", exit.messages.trim()));
            Ok(TESTBED_FAILED)
        }
    }
}

/// Starts the machine, passes its console on to stdout, and waits for its end.
fn start(accelerator: Accelerator, options: &Boot) -> Result<Exit> {
    let memory = u32::try_from(options.memory >> 20).context("the machine cannot have that much memory")?;
    let machine = Machine::new(accelerator)
        .memory_mib(memory)
        .cpus(options.smp.unwrap_or_else(|| default_cpus(accelerator)))
        .deadline(Duration::from_secs(options.timeout));
    let running = attach(machine, options)?.start(|line| match print(&format!("{line}\n")) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })?;
    Ok(running.wait()?)
}

/// Without KVM one processor: when the kernel patches its own code for several, QEMU's translation can show one of them
/// a half-patched instruction, and a start then ends in a kernel panic ("Oops: int3").
fn default_cpus(accelerator: Accelerator) -> u32 {
    match accelerator {
        Accelerator::Kvm => 2,
        Accelerator::Tcg => 1,
    }
}

/// Gives the machine the image: kernel and root apart, or the disk under firmware.
fn attach(machine: Machine, options: &Boot) -> Result<Machine> {
    let image = &options.image;
    match options.firmware {
        Firmware::Direct => {
            let path = image.join("cmdline");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let words = [Some(text.trim()), options.append.as_deref()];
            let cmdline = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
            let (kernel, initrd) = (image.join("vmlinuz"), image.join("initrd.img"));
            Ok(machine
                .boot(Start::Direct { kernel, initrd: Some(initrd), cmdline })
                .disk(Disk::snapshot(image.join("root.img"), Bus::Virtio)))
        }
        Firmware::Uefi => {
            ensure!(
                options.append.is_none(),
                "--append needs a direct start: under UEFI the command line is part of the kernel image"
            );
            Ok(machine.boot(Start::Uefi).disk(disk(image, options)?))
        }
    }
}

fn disk(image: &std::path::Path, options: &Boot) -> Result<Disk> {
    let path = image.join("disk.img");
    let bus = match options.disk {
        DiskKind::Virtio => Bus::Virtio,
        DiskKind::Nvme => Bus::Nvme,
        DiskKind::Usb => Bus::UsbStorage,
    };
    let mut file = fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let table =
        diskimage::gpt::read(&mut file).with_context(|| format!("reading the partitions of {}", path.display()))?;
    let sector = table.sector_size.bytes();
    Ok(Disk::snapshot(path, bus).block_size(sector as u32))
}
