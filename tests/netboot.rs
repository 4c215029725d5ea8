//! Machines that start over the network: a bridge in network namespaces with a DHCP server as in a lab, a hub and
//! `rocbed netboot`, and QEMU with its own firmware at a tap device. Each test ends with a job that the machine has
//! run, and whose result the hub has.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rocbed_tests::{CardRom, Hub, Trees, rocbed, smoke_image, tool};
use serde_json::Value;
use tempfile::TempDir;

/// Environment variable with the test for which a process was started.
const INSIDE: &str = "ROCBED_NETBOOT_TEST";

/// Time limit, much longer than needed even on a busy machine without KVM.
const LONG: Duration = Duration::from_secs(400);

/// Runs `body` in namespaces of its own, with `br0` (10.77.0.1) and `tap0`, and a DHCP server at 10.77.0.2 if `dhcp`.
/// All processes are ended in any case.
fn alone(name: &str, dhcp: bool, body: impl FnOnce(&Path)) {
    let image = smoke_image();
    // Downloads what is needed from the archive while it can be reached.
    let scratch = tempfile::tempdir().expect("a directory");
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        for line in [
            "mount -t tmpfs tmpfs /run",
            "ip netns add lan",
            "ip link set lo up",
            "ip link add br0 type bridge",
            "ip address add 10.77.0.1/24 dev br0",
            "ip link set br0 up",
            "ip tuntap add tap0 mode tap",
            "ip link set tap0 master br0 up",
            "ip link add v0 type veth peer name e0 netns lan",
            "ip link set v0 master br0 up",
            "ip -n lan address add 10.77.0.2/24 dev e0",
            "ip -n lan link set e0 up",
        ] {
            tool("sh", ["-c", line]);
        }
        let _server = dhcp.then(lan_server);
        return body(&image);
    }
    rocbed(["netboot", "--ignore-valid-until", "--files"]).arg(scratch.path()).arg(&image).ok();
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.arg(std::env::current_exe().expect("this program")).args(["--exact", name, "--nocapture"]);
    let output = unshare.env(INSIDE, name).output().expect("unshare (package util-linux), as root");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "in its own namespaces:\n{text}");
}

/// A process that is ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lab's own DHCP server, which is not configured for rocbed and runs before it.
fn lan_server() -> Running {
    let mut dnsmasq = Command::new("ip");
    dnsmasq.args(["netns", "exec", "lan", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"]);
    dnsmasq.args(["--pid-file=", "--user=root", "--dhcp-leasefile=/dev/null", "--log-facility=-"]);
    dnsmasq.args(["--dhcp-range=10.77.0.100,10.77.0.150,1h", "--dhcp-option=option:router,10.77.0.1"]);
    let mut running = Running(dnsmasq.stderr(Stdio::piped()).spawn().expect("dnsmasq (package dnsmasq-base)"));
    let mut lines = BufReader::new(running.0.stderr.take().expect("its stderr")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("IP range 10.77.0.100")), "dnsmasq gives no addresses");
    // Its later output is read too, so that it does not block.
    thread::spawn(move || lines.for_each(drop));
    running
}

/// A running `rocbed netboot`, and its output.
struct Served {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// Its directory for temporary files.
    temporary: TempDir,
}

impl Served {
    fn start(image: &Path, words: &[&str]) -> Self {
        let call =
            rocbed(["netboot", "--interface", "br0", "--ignore-valid-until", "--set", "set-clock=no"]).arg(image);
        let mut command = words.iter().fold(call, rocbed_tests::Call::arg).into_command();
        let temporary = tempfile::tempdir().expect("a directory");
        command.env("TMPDIR", temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("rocbed netboot");
        let (sender, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("stdout")), Box::new(child.stderr.take().expect("stderr"))];
        for output in outputs {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
            });
        }
        let mut served = Self { child, lines, seen: Vec::new(), temporary };
        served.wait_for("serving ");
        served
    }

    /// Waits for a line that contains this text.
    fn wait_for(&mut self, text: &str) -> String {
        let start = Instant::now();
        while let Some(left) = LONG.checked_sub(start.elapsed()) {
            let Ok(line) = self.lines.recv_timeout(left) else { break };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("{text:?} was not said:\n{}", self.seen.join("\n"));
    }

    /// Ends it like Ctrl-C.
    fn end(mut self) -> Vec<String> {
        tool("kill", ["-INT", &self.child.id().to_string()]);
        assert!(self.child.wait().expect("its end").success());
        let left = fs::read_dir(self.temporary.path()).expect("the directory for temporary files").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Address of the test's own servers.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A hub for machines on the bridge, and a server with sources for its jobs.
struct Work {
    hub: Hub,
    trees: Trees,
}

impl Work {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let hub = Hub::start_in(home, &["--listen", &format!("{HERE}:0"), "--min-free", "0"]);
        Self { hub, trees: Trees::at(HERE.into()) }
    }

    /// Adds a job for any machine, with this command as its test; returns its id.
    fn add_job(&self, command: &str) -> String {
        let added = self.hub.json(&["jobs", "add", &self.trees.command("quick", command)]);
        added["jobs"][0].as_str().unwrap_or_else(|| panic!("{added}")).to_owned()
    }

    /// Starts `rocbed netboot` with the settings of a worker, and more arguments.
    fn serve(&self, image: &Path, words: &[&str]) -> Served {
        let token = self.hub.started()["join-token-path"].as_str().expect("a path");
        let token = fs::read_to_string(token).expect("a join token");
        Served::start(image, &[&["--hub", self.hub.address(), "--join-token", token.trim()], words].concat())
    }

    /// Waits until the hub has a machine as its worker. What a worker does does not depend on its firmware, so only one
    /// machine of these tests runs a job.
    fn wait_for_worker(&self, console: &Path) {
        let began = Instant::now();
        while self.hub.json(&["workers", "list"]).as_array().is_none_or(Vec::is_empty) {
            assert!(began.elapsed() < LONG, "{}", fs::read_to_string(console).unwrap_or_default());
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until the hub has the result of a job, and checks that it is from the image's own worker.
    fn wait(&self, job: &str, console: &Path) {
        let began = Instant::now();
        let of = |words: &[&str]| self.hub.json(&[words, &[job]].concat());
        while of(&["jobs", "show"])["state"] != "finished" {
            let said = || fs::read_to_string(console).unwrap_or_default();
            assert!(began.elapsed() < LONG, "{}\n{}", of(&["jobs", "show"]), said());
            thread::sleep(Duration::from_millis(500));
        }
        let result = &of(&["results", "show"])["result"];
        let told = (&result["verdict"], &result["machine"]["image"]["name"]);
        assert_eq!(told, (&Value::from("pass"), &Value::from("smoke")), "{result}");
    }
}

/// Firmware and boot method of a machine.
#[derive(Clone, Copy, PartialEq)]
enum Firmware {
    /// `SeaBIOS`, with the network card's ROM supporting PXE but not iPXE.
    BiosPxe,
    /// `SeaBIOS`, with iPXE in the network card's ROM.
    BiosWithIpxe,
    /// OVMF's own PXE.
    UefiPxe,
    /// OVMF's own HTTP boot.
    UefiHttp,
}

/// A machine at `tap0`; its console is written to a file.
struct Client {
    _qemu: Running,
    _rom: Option<CardRom>,
    console: PathBuf,
}

impl Client {
    fn start(firmware: Firmware, directory: &Path) -> Self {
        let console = directory.join("console.log");
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35", "-nodefaults", "-no-reboot", "-display", "none", "-m", "1024M"]);
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "1", "-device", "virtio-rng-pci"]);
        qemu.args(["-serial", &format!("file:{}", console.display())]);
        let rom = (firmware == Firmware::BiosPxe).then(|| CardRom::until("undionly.kpxe"));
        let header = if rom.is_some() { ",vnet_hdr=off" } else { "" };
        qemu.args(["-netdev", &format!("tap,id=net,ifname=tap0,script=no,downscript=no{header}")]);
        qemu.args(rom.iter().flat_map(CardRom::arguments));
        let is_bios = matches!(firmware, Firmware::BiosPxe | Firmware::BiosWithIpxe);
        // Without the ROM, the firmware's own driver and PXE are used.
        let file = if is_bios { "" } else { ",romfile=" };
        qemu.args(["-device", &format!("virtio-net-pci,netdev=net,mac=52:54:00:00:00:07,bootindex=1{file}")]);
        if !is_bios {
            let variables = directory.join("vars.fd");
            fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).expect("OVMF (package ovmf)");
            let code = "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
            qemu.args(["-drive", code, "-drive", &format!("if=pflash,format=raw,unit=1,file={}", variables.display())]);
        }
        if firmware == Firmware::UefiHttp {
            for version in [4, 6] {
                qemu.args(["-fw_cfg", &format!("name=opt/org.tianocore/IPv{version}PXESupport,string=n")]);
            }
        }
        Self { _qemu: Running(qemu.spawn().expect("QEMU (package qemu-system-x86)")), _rom: rom, console }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.console).expect("the console's log")
    }
}

fn starts(firmware: Firmware, steps: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let work = Work::new();
    let mut served = work.serve(&smoke_image(), &[]);
    let client = Client::start(firmware, directory.path());
    for step in steps {
        served.wait_for(step);
    }
    let ready = served.wait_for("ready at ");
    assert!(ready.starts_with("52:54:00:00:00:07: ") && ready.contains(work.hub.address()), "{ready}");
    assert!(client.said().contains("read when needed; the index is right"), "{}", client.said());
    work.wait_for_worker(&client.console);
    let seen = served.end();
    assert!(seen.iter().any(|line| line.contains("DHCP server on br0: 10.77.0.2")), "{seen:#?}");
}

#[test]
fn uefi_starts_by_pxe() {
    alone("uefi_starts_by_pxe", true, |_| {
        starts(
            Firmware::UefiPxe,
            &["DHCP (PXE)", "loader snponly.efi", "iPXE asks", "kernel", "initramfs", "index of the root", "root 0 %"],
        );
    });
}

#[test]
fn uefi_starts_by_http() {
    alone("uefi_starts_by_http", true, |_| {
        starts(
            Firmware::UefiHttp,
            &["loader snponly.efi", "iPXE asks", "kernel", "initramfs", "index of the root", "root 0 %"],
        );
    });
}

#[test]
fn a_bios_starts_by_pxe() {
    alone("a_bios_starts_by_pxe", true, |_| {
        starts(
            Firmware::BiosPxe,
            &["DHCP (PXE)", "loader undionly.kpxe", "iPXE asks", "kernel", "initramfs", "root 0 %"],
        );
    });
}

/// A file of the root that nothing reads by itself, and how it begins.
const LICENSE: (&str, &[u8]) = (
    "/usr/share/common-licenses/GPL-3",
    b"                    GNU GENERAL PUBLIC LICENSE\n                       Version 3, 29 June 2007\n",
);

/// A copy of the image whose root has another [`LICENSE`], and the digest of that root: for a server it is in order, and only
/// the root hash on the command line is still that of the build.
fn with_another_license(image: &Path, copy: &Path) {
    fs::create_dir(copy).expect("a directory");
    for name in ["cmdline", "vmlinuz", "initrd.img", "netboot.img"] {
        fs::copy(image.join(name), copy.join(name)).expect("a file of the image");
    }
    let mut root = fs::read(image.join("root.img")).expect("a root");
    let mut changed = 0;
    for block in root.chunks_mut(4096).filter(|block| block.starts_with(LICENSE.1)) {
        block[4] = b'!';
        changed += 1;
    }
    assert!(changed > 0, "{} is not in the image", LICENSE.0);
    let changed = copy.join("root.img");
    fs::write(&changed, root).expect("another root");
    let sum = tool("sha256sum", [&changed]);
    fs::write(copy.join("SHA256SUMS"), format!("{}  root.img\n", &sum[..64])).expect("digests");
}

/// Part of the root is not what was built: the chunks and their index say that it is right, and the kernel knows better.
#[test]
fn a_bios_with_ipxe_starts_although_the_server_dies_on_the_way() {
    alone("a_bios_with_ipxe_starts_although_the_server_dies_on_the_way", true, |image| {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = directory.path().join("image");
        with_another_license(image, &copy);
        let image = &*copy;
        let work = Work::new();
        let job = work.add_job(&format!("! cat {} > /dev/null 2>&1", LICENSE.0));
        let mut served = work.serve(image, &["--set", "name=from-the-network"]);
        let client = Client::start(Firmware::BiosWithIpxe, directory.path());
        for step in ["iPXE asks", "kernel", "initramfs", "root 0 %"] {
            served.wait_for(step);
        }
        assert!(!served.seen.iter().any(|line| line.contains("loader ")), "{:#?}", served.seen);
        let until = |text: &str| {
            let began = Instant::now();
            while !client.said().contains(text) {
                assert!(began.elapsed() < LONG, "{}", client.said());
                thread::sleep(Duration::from_millis(200));
            }
        };
        // A server that dies at the very first request for the root is asked again by other code.
        until("read when needed; the index is right");
        drop(served);
        until("; waiting for the server");
        let mut served = Served::start(image, &["--no-dhcp"]);
        served.wait_for("ready at ");
        work.wait(&job, &client.console);
        let said = client.said();
        assert!(said.contains("root: the server is back after "), "{said}");
        assert!(said.contains("host name from-the-network"), "{said}");
        assert!(said.contains("the root is damaged: blocks of it are not what was built"), "{said}");
    });
}

#[test]
fn a_tampered_root_is_refused_on_a_network_of_its_own() {
    alone("a_tampered_root_is_refused_on_a_network_of_its_own", false, |image| {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = directory.path().join("image");
        fs::create_dir(&copy).expect("a directory");
        for name in ["SHA256SUMS", "cmdline", "vmlinuz", "initrd.img", "netboot.img", "root.img.zst", "root.index"] {
            fs::copy(image.join(name), copy.join(name)).expect("a file of the image");
        }
        std::os::unix::fs::symlink(image.join("root.img"), copy.join("root.img")).expect("a root");
        let sums = fs::read_to_string(copy.join("SHA256SUMS")).expect("digests");
        let digest = sums.lines().find_map(|line| line.strip_suffix("  root.img")).expect("the root's digest");
        let words = ["--whole", "--isolated", "10.77.0.10-10.77.0.20", "--append", "rocbed.panic-timeout=1"];
        let mut served = Served::start(&copy, &words);
        // Who can write to the server's files while it runs can deceive it, but not the machine.
        let (plain, other) = (directory.path().join("other"), directory.path().join("other.zst"));
        fs::write(&plain, vec![7; 8 << 20]).expect("another root");
        tool("zstd", ["-q", "-o", &other.to_string_lossy(), &plain.to_string_lossy()]);
        fs::write(copy.join("root.img.zst"), fs::read(&other).expect("another root")).expect("another root");
        let client = Client::start(Firmware::BiosWithIpxe, directory.path());
        let line = served.wait_for("cannot start: ");
        assert!(line.contains("not the one that was asked for, and is not started"), "{line}");
        served.wait_for(&format!("SHA-256 wanted {digest}"));
        assert!(!client.said().contains("rocbed-init: packages"), "{}", client.said());
    });
}

#[test]
fn a_second_server_on_a_network_is_refused() {
    alone("a_second_server_on_a_network_is_refused", true, |image| {
        let text =
            rocbed(["netboot", "--interface", "br0", "--ignore-valid-until", "--isolated", "10.77.0.10-10.77.0.20"])
                .arg(image)
                .fails();
        assert!(text.contains("there is a DHCP server on br0 already (10.77.0.2)"), "{text}");
        let text = rocbed(["netboot", "--interface", "br0", "--isolated", "10.1.0.10-10.1.0.20"]).arg(image).fails();
        assert!(text.contains("10.1.0.10 is not in the network 10.77.0.0/24"), "{text}");
        let text = rocbed(["netboot", "--interface", "br7"]).arg(image).fails();
        assert!(text.contains("there is no network card br7") && text.contains("br0 (10.77.0.1/24)"), "{text}");
    });
}

#[test]
fn a_machine_in_qemu_starts_without_any_of_this() {
    let directory = smoke_image();
    let image = directory.display().to_string();
    // There may be one of an earlier start.
    let _ = fs::remove_file(directory.join("root.order"));
    let output = rocbed(["boot", &image, "--netboot", "--timeout", "400"]).run();
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("read when needed; the index is right"), "{}", output.stdout);
    assert!(output.stdout.contains("root: each block is checked (dm-verity)"), "{}", output.stdout);
    // What it read first is known for the next start.
    let order = fs::read_to_string(directory.join("root.order")).expect("the order");
    assert!(order.starts_with("rocbed order 1\nindex ") && order.lines().count() > 3, "{order}");
}

#[test]
fn files_for_a_server_of_ones_own_name_each_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let call =
        rocbed(["netboot", "--ignore-valid-until", "--url", "http://boot.lab/rocbed/", "--hub", "http://hub:8420"]);
    let call = call.args(&["--join-token", "rocbed-join-1"]);
    call.arg("--files").arg(directory.path()).arg(smoke_image()).ok();
    let read =
        |name: &str| fs::read_to_string(directory.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let script = read("boot.ipxe");
    assert!(script.contains("\ninitrd http://boot.lab/rocbed/initrd.img "), "{script}");
    assert!(script.contains(" rocbed.root-url=http://boot.lab/rocbed/root.img.zst rocbed.root-sha256="), "{script}");
    assert!(script.contains(" rocbed.root-index-sha256="), "{script}");
    assert!(script.contains(" rocbed.hub=http://hub:8420 rocbed.join-token=rocbed-join-1 "), "{script}");
    for name in ["vmlinuz", "initrd.img", "root.img.zst", "root.index", "snponly.efi", "undionly.kpxe", "README.md"] {
        assert!(directory.path().join(name).is_file(), "{name}");
    }
    tool("dnsmasq", ["--test", &format!("--conf-file={}", directory.path().join("dnsmasq.conf").display())]);
    tool("zstd", ["-q", "-t", &directory.path().join("root.img.zst").to_string_lossy()]);
}
