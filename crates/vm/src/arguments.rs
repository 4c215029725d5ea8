//! QEMU's arguments for a machine (qemu-system-x86_64(1)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::machine::{Boot, Bus, Kept, Machine, Network};
use crate::{Accelerator, Disk};

impl Accelerator {
    /// The arguments that choose this accelerator and the most capable processor model for it.
    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Without page tables of five levels, which only machines with more than 64 TiB of memory need: each miss of
            // the translated TLB walks one level less, which is an eighth of the processor time of a job.
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"],
        }
    }
}

impl Machine {
    /// The arguments for this machine; `flash` is the firmware's code and this machine's own copy of its variables,
    /// `monitor` the socket of its QMP monitor, if pictures of the display are wanted.
    pub(crate) fn arguments(&self, flash: Option<(&Path, &Path)>, monitor: Option<&Path>) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&[
            "-name",
            "rocbed",
            "-machine",
            if self.boot == Boot::SecureBoot { "q35,smm=on" } else { "q35" },
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        add(&self.accelerator.arguments());
        add(&["-m", &format!("{}M", self.memory_mib), "-smp", &self.cpus.to_string()]);
        if self.interactive {
            add(&["-chardev", "stdio,id=serial,mux=on,signal=off", "-serial", "chardev:serial"]);
            add(&["-mon", "chardev=serial", "-device", "virtio-rng-pci"]);
        } else {
            add(&["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial", "-device", "virtio-rng-pci"]);
        }
        if self.debug_exit {
            add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        }
        match self.network {
            Network::None => add(&["-nic", "none"]),
            Network::User => match &self.boot {
                Boot::Network { file } => {
                    let file = file.replace(',', ",,");
                    add(&["-nic", &format!("user,model=virtio-net-pci,bootfile={file}"), "-boot", "order=n"]);
                }
                _ => add(&["-nic", "user,model=virtio-net-pci"]),
            },
            Network::Isolated => add(&["-nic", "user,restrict=on,model=virtio-net-pci"]),
        }
        if self.boot == Boot::SecureBoot {
            // Only the firmware may write its variables, in a mode of the processor that the kernel cannot enter. It
            // could not come back to it after suspend to memory (OVMF's README, "SMM support").
            add(&["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]);
        }
        if self.disks.iter().any(|disk| disk.bus == Bus::UsbStorage) {
            add(&["-device", "qemu-xhci,id=xhci"]);
        }
        if let Some((code, variables)) = flash {
            let drive = |options: &str, path| [OsString::from("-drive"), with_path(options, path)];
            arguments.extend(drive("if=pflash,format=raw,unit=0,readonly=on,file=", code));
            arguments.extend(drive("if=pflash,format=raw,unit=1,file=", variables));
        }
        if let Some(monitor) = monitor {
            let monitor = with_path("unix:", monitor).into_encoded_bytes();
            let monitor = OsString::from_vec([monitor.as_slice(), b",server=on,wait=off"].concat());
            arguments.extend(["-device".into(), "VGA".into(), "-qmp".into(), monitor]);
        }
        if !self.ports.is_empty() {
            arguments.extend(["-device".into(), "virtio-serial-pci".into()]);
        }
        for (number, (name, socket)) in self.ports.iter().enumerate() {
            let chardev = with_path(&format!("socket,id=port{number},path="), socket);
            let device = format!("virtserialport,chardev=port{number},name={}", name.replace(',', ",,"));
            arguments.extend(["-chardev".into(), chardev, "-device".into(), device.into()]);
        }
        for (number, disk) in self.disks.iter().enumerate() {
            arguments.extend(disk.arguments(number));
        }
        for (number, address) in self.host_devices.iter().enumerate() {
            // A root port each, as on a machine: a GPU's driver looks for PCI Express above it.
            let chassis = number + 1;
            arguments.extend(["-device".into(), format!("pcie-root-port,id=host{number},chassis={chassis}").into()]);
            arguments.extend(["-device".into(), format!("vfio-pci,host={address},bus=host{number}").into()]);
        }
        if let Boot::Direct { kernel, initrd, cmdline } = &self.boot {
            arguments.extend(["-kernel".into(), kernel.clone().into_os_string()]);
            if let Some(initrd) = initrd {
                arguments.extend(["-initrd".into(), initrd.clone().into_os_string()]);
            }
            arguments.extend(["-append".into(), cmdline.into()]);
        }
        arguments.extend(self.extra.iter().cloned());
        arguments
    }
}

impl Disk {
    fn arguments(&self, number: usize) -> Vec<OsString> {
        let kept = match self.kept {
            // A snapshot is discarded anyway, so it need not reach the disk.
            Kept::Snapshot => "snapshot=on,cache=unsafe",
            Kept::Scratch => "cache=unsafe,discard=unmap,werror=report,rerror=report",
            Kept::Always => "cache=writeback",
        };
        let drive = with_path(&format!("if=none,id=disk{number},format=raw,{kept},file="), &self.path);
        let (size, order) = (self.block_size, number + 1);
        let mut arguments = vec!["-drive".into(), drive];
        let device = match self.bus {
            Bus::Virtio => "virtio-blk-pci,".to_owned(),
            Bus::Nvme => "nvme,".to_owned(),
            Bus::UsbStorage if size == 512 => "usb-storage,bus=xhci.0,removable=on,".to_owned(),
            // usb-storage takes a block size but does not pass it on (seen with QEMU 7.2): its disk keeps 512 bytes.
            // Here bridge and disk are separate devices.
            Bus::UsbStorage => {
                arguments.extend(["-device".into(), format!("usb-bot,id=usb{number},bus=xhci.0").into()]);
                format!("scsi-hd,bus=usb{number}.0,removable=on,")
            }
        };
        let device = format!(
            "{device}drive=disk{number},serial=rocbed{number},logical_block_size={size},physical_block_size={size},\
             bootindex={order}"
        );
        arguments.extend(["-device".into(), device.into()]);
        arguments
    }
}

/// `options` followed by a path, in which commas are doubled as QEMU wants it.
fn with_path(options: &str, path: &Path) -> OsString {
    let mut bytes = options.as_bytes().to_vec();
    for &byte in OsStr::as_bytes(path.as_os_str()) {
        bytes.extend(std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(machine: &Machine, flash: Option<(&Path, &Path)>) -> String {
        machine.arguments(flash, None).join(OsStr::new(" ")).into_string().unwrap()
    }

    const COMMON: &str = "-name rocbed -machine q35 -nodefaults -no-user-config -display none -no-reboot";
    const CONSOLE: &str = "-chardev stdio,id=serial,signal=off -serial chardev:serial -device virtio-rng-pci";

    #[test]
    fn a_machine_that_starts_over_the_network_is_told_where_from() {
        let boot = Boot::Network { file: "http://10.0.2.2:1/a,b".into() };
        let machine = Machine::new(Accelerator::Tcg).boot(boot).network(Network::User);
        let line = line(&machine, None);
        assert!(
            line.contains("-nic user,model=virtio-net-pci,bootfile=http://10.0.2.2:1/a,,b -boot order=n"),
            "{line}"
        );
    }

    #[test]
    fn the_plainest_machine() {
        assert_eq!(
            line(&Machine::new(Accelerator::Kvm), None),
            format!("{COMMON} -accel kvm -cpu host -m 1024M -smp 2 {CONSOLE} -nic none")
        );
    }

    #[test]
    fn a_terminal_has_console_and_monitor() {
        let line = line(&Machine::new(Accelerator::Kvm).interactive(), None);
        let expected = "-chardev stdio,id=serial,mux=on,signal=off -serial chardev:serial -mon chardev=serial";
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn a_display_is_looked_at_through_the_monitor() {
        let arguments = Machine::new(Accelerator::Kvm).arguments(None, Some(Path::new("/a,b")));
        let text = arguments.join(OsStr::new(" ")).into_string().unwrap();
        assert!(text.ends_with("-nic none -device VGA -qmp unix:/a,,b,server=on,wait=off"), "{text}");
    }

    #[test]
    fn ports_lead_to_sockets() {
        let machine = Machine::new(Accelerator::Kvm).port("org.example", "/tmp/a,b");
        let expected = "-device virtio-serial-pci -chardev socket,id=port0,path=/tmp/a,,b \
                        -device virtserialport,chardev=port0,name=org.example";
        assert!(line(&machine, None).ends_with(expected), "{}", line(&machine, None));
    }

    #[test]
    fn a_device_of_the_host_is_behind_a_port_of_its_own() {
        let machine = Machine::new(Accelerator::Kvm).host_device("0000:03:00.0".parse().unwrap());
        let line = line(&machine.host_device("0000:43:00.0".parse().unwrap()), None);
        let expected = "-device pcie-root-port,id=host0,chassis=1 -device vfio-pci,host=0000:03:00.0,bus=host0 \
                        -device pcie-root-port,id=host1,chassis=2 -device vfio-pci,host=0000:43:00.0,bus=host1";
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn a_full_disk_of_the_host_is_an_error_for_the_machine() {
        let line = line(&Machine::new(Accelerator::Kvm).disk(Disk::scratch("/a", Bus::Virtio)), None);
        let expected =
            "-drive if=none,id=disk0,format=raw,cache=unsafe,discard=unmap,werror=report,rerror=report,file=/a";
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn a_kernel_of_its_own() {
        let boot =
            Boot::Direct { kernel: "/k".into(), initrd: Some("/i".into()), cmdline: "console=ttyS0 panic=-1".into() };
        let machine = Machine::new(Accelerator::Tcg).memory_mib(512).cpus(1).boot(boot).network(Network::User);
        assert_eq!(
            line(&machine.argument("-snapshot").debug_exit(), None),
            format!(
                "{COMMON} -accel tcg,thread=multi -cpu max,la57=off -m 512M -smp 1 {CONSOLE} -device isa-debug-exit,iobase=0xf4,\
                 iosize=4 -nic user,model=virtio-net-pci -kernel /k -initrd /i -append console=ttyS0 panic=-1 -snapshot"
            )
        );
    }

    #[test]
    fn with_secure_boot_only_the_firmware_writes_its_variables() {
        let machine = Machine::new(Accelerator::Kvm).boot(Boot::SecureBoot);
        let line = line(&machine, Some((Path::new("/code"), Path::new("/vars"))));
        assert!(
            line.contains(" -machine q35,smm=on ") && line.contains("cfi.pflash01,property=secure,value=on"),
            "{line}"
        );
    }

    #[test]
    fn firmware_and_every_kind_of_disk() {
        let machine = Machine::new(Accelerator::Kvm)
            .boot(Boot::Uefi)
            .network(Network::Isolated)
            .disk(Disk::snapshot("/a,b", Bus::UsbStorage))
            .disk(Disk::writable("/b", Bus::Nvme).block_size(4096))
            .disk(Disk::snapshot("/c", Bus::Virtio))
            .disk(Disk::snapshot("/d", Bus::UsbStorage).block_size(4096));
        let text = line(&machine, Some((Path::new("/code"), Path::new("/vars"))));
        let (_, devices) = text.split_once("-nic ").unwrap();
        assert_eq!(
            devices,
            "user,restrict=on,model=virtio-net-pci -device qemu-xhci,id=xhci \
             -drive if=pflash,format=raw,unit=0,readonly=on,file=/code -drive if=pflash,format=raw,unit=1,file=/vars \
             -drive if=none,id=disk0,format=raw,snapshot=on,cache=unsafe,file=/a,,b \
             -device usb-storage,bus=xhci.0,removable=on,drive=disk0,serial=rocbed0,logical_block_size=512,\
             physical_block_size=512,bootindex=1 \
             -drive if=none,id=disk1,format=raw,cache=writeback,file=/b \
             -device nvme,drive=disk1,serial=rocbed1,logical_block_size=4096,physical_block_size=4096,bootindex=2 \
             -drive if=none,id=disk2,format=raw,snapshot=on,cache=unsafe,file=/c \
             -device virtio-blk-pci,drive=disk2,serial=rocbed2,logical_block_size=512,physical_block_size=512,bootindex=3 \
             -drive if=none,id=disk3,format=raw,snapshot=on,cache=unsafe,file=/d -device usb-bot,id=usb3,bus=xhci.0 \
             -device scsi-hd,bus=usb3.0,removable=on,drive=disk3,serial=rocbed3,logical_block_size=4096,\
             physical_block_size=4096,bootindex=4"
        );
    }
}
