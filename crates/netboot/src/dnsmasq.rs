//! Runs dnsmasq(8): DHCP beside another server (proxy) or alone on a network, and TFTP for boot loaders.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use crate::error::NetbootError;
use crate::event::{NetbootEvent, Step};
use crate::script::SCRIPT;

/// The boot loader for BIOS: its name on the HTTP server and on TFTP.
pub const BIOS_LOADER: &str = "undionly.kpxe";
/// The boot loader for UEFI, likewise.
pub const UEFI_LOADER: &str = "snponly.efi";

/// The source of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Another DHCP server on the network; dnsmasq only says what to boot (PXE 2.1, section 2.2.5, "proxyDHCP").
    Proxy {
        /// The network's address.
        network: Ipv4Addr,
        /// Its netmask.
        netmask: Ipv4Addr,
    },
    /// dnsmasq itself, on a network without another DHCP server.
    Isolated {
        /// The first address of the pool.
        first: Ipv4Addr,
        /// The last address of the pool.
        last: Ipv4Addr,
    },
}

/// dnsmasq's configuration. `server` is our address and `base` our HTTP server's URL; `loaders` is a directory with
/// both boot loaders, for TFTP.
pub fn configuration(mode: Mode, interface: &str, server: Ipv4Addr, base: &str, loaders: &str) -> String {
    let mut text = format!(
        "# Names are served by nobody here.\nport=0\ninterface={interface}\nexcept-interface=lo\nbind-dynamic\n\
         log-dhcp\nno-ping\n\
         enable-tftp\ntftp-root={loaders}\n\
         # Who asks: iPXE itself (its option 175), UEFI's HTTP boot, UEFI's PXE, and else a BIOS.\n\
         dhcp-match=set:ipxe,175\n\
         dhcp-vendorclass=set:http,HTTPClient\n\
         dhcp-match=set:efi,option:client-arch,7\ndhcp-match=set:efi,option:client-arch,9\n\
         # Under a BIOS iPXE takes nobody's word without a server's address.\n\
         dhcp-boot=tag:ipxe,{base}/{SCRIPT},,{server}\n\
         dhcp-boot=tag:!ipxe,tag:http,{base}/{UEFI_LOADER}\n"
    );
    match mode {
        Mode::Proxy { network, netmask } => text.push_str(&format!(
            "dhcp-range={network},proxy,{netmask}\n\
             dhcp-pxe-vendor=PXEClient,HTTPClient\n\
             pxe-service=tag:!ipxe,tag:!http,x86PC,\"rocbed\",{BIOS_LOADER}\n\
             pxe-service=tag:!ipxe,tag:!http,BC_EFI,\"rocbed\",{UEFI_LOADER}\n\
             pxe-service=tag:!ipxe,tag:!http,X86-64_EFI,\"rocbed\",{UEFI_LOADER}\n"
        )),
        Mode::Isolated { first, last } => text.push_str(&format!(
            "dhcp-range={first},{last},1h\ndhcp-authoritative\n\
             dhcp-option-force=tag:http,60,HTTPClient\n\
             dhcp-boot=tag:!ipxe,tag:!http,tag:efi,{UEFI_LOADER}\n\
             dhcp-boot=tag:!ipxe,tag:!http,tag:!efi,{BIOS_LOADER}\n"
        )),
    }
    text
}

/// A running dnsmasq. Dropping it ends it.
#[derive(Debug)]
pub struct Dnsmasq {
    child: Child,
}

impl Dnsmasq {
    /// Starts dnsmasq with a configuration file. Requests of machines are sent as events; other log lines go to
    /// `said`.
    ///
    /// # Errors
    /// [`NetbootError::NoDnsmasq`], or if it cannot be started. Errors in its configuration, or a port that is in
    /// use, are reported on `said`, and it ends: see [`Self::has_ended`].
    pub fn start(
        configuration: &Path,
        events: Sender<NetbootEvent>,
        mut said: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, NetbootError> {
        let program = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq", "/sbin/dnsmasq"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let program = program.ok_or(NetbootError::NoDnsmasq)?;
        let mut conf = std::ffi::OsString::from("--conf-file=");
        conf.push(configuration);
        let mut child = Command::new(program)
            .args([
                "--keep-in-foreground",
                "--log-facility=-",
                "--pid-file=",
                "--user=root",
                "--dhcp-leasefile=/dev/null",
            ])
            .arg(conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(NetbootError::io("starting", program))?;
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    match event(&line) {
                        Some(event) => {
                            // The receiver is gone only when the program is about to end.
                            let _ = events.send(event);
                        }
                        None => said(&line),
                    }
                }
            });
        }
        Ok(Self { child })
    }

    /// Whether it has ended, which only happens after an error.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The event in a line of dnsmasq's log; `None` if it has none.
pub fn event(line: &str) -> Option<NetbootEvent> {
    let line = line.split_once(": ").map_or(line, |(_, rest)| rest);
    // With log-dhcp each DHCP line begins with the transaction id.
    let line = line
        .split_once(' ')
        .filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(line, |(_, rest)| rest);
    let words: Vec<&str> = line.split(' ').collect();
    let mac = words.iter().find(|word| is_mac(word)).map(|mac| (*mac).to_owned());
    match words.first()? {
        word if word.starts_with("PXE(") || word.starts_with("DHCPDISCOVER(") => Some(NetbootEvent {
            host: mac?,
            step: Step::Dhcp { what: (if word.starts_with("PXE(") { "PXE" } else { "no address yet" }).into() },
        }),
        // `sent /tmp/x/snponly.efi to 192.0.2.77`; of other lines that begin so, none has a path.
        &"sent" => match words.as_slice() {
            [_, path, "to", address] if path.starts_with('/') => {
                let file = path.rsplit('/').next().unwrap_or(path).to_owned();
                Some(NetbootEvent { host: (*address).to_owned(), step: Step::Loader { file } })
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_mac(word: &str) -> bool {
    word.len() == 17
        && word.split(':').count() == 6
        && word.bytes().all(|byte| byte == b':' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    #[test]
    fn machines_are_seen_in_the_log() {
        let shown = |line| event(line).map(|event| event.to_string());
        assert_eq!(
            shown("dnsmasq-dhcp: 305419896 PXE(eth0) 52:54:00:12:34:56 proxy").as_deref(),
            Some("52:54:00:12:34:56: DHCP (PXE)")
        );
        assert_eq!(
            shown("dnsmasq-tftp: sent /tmp/x/snponly.efi to 192.0.2.77").as_deref(),
            Some("192.0.2.77: loader snponly.efi")
        );
        assert_eq!(shown("dnsmasq-dhcp: 7 sent size:  4 option: 54 server-identifier  192.0.2.1"), None);
        assert_eq!(shown("dnsmasq: started, version 2.90 DNS disabled"), None);
    }

    #[test]
    fn a_proxy_gives_no_addresses() {
        let mode = Mode::Proxy { network: Ipv4Addr::new(192, 0, 2, 0), netmask: Ipv4Addr::new(255, 255, 255, 0) };
        let text = configuration(mode, "eth0", SERVER, "http://192.0.2.1:8470", "/tmp/x");
        assert!(text.contains("dhcp-range=192.0.2.0,proxy,255.255.255.0\n"), "{text}");
        assert!(text.contains("dhcp-boot=tag:ipxe,http://192.0.2.1:8470/boot.ipxe,,192.0.2.1\n"), "{text}");
        let mode = Mode::Isolated { first: Ipv4Addr::new(10, 0, 0, 10), last: Ipv4Addr::new(10, 0, 0, 99) };
        let text = configuration(mode, "eth0", SERVER, "http://10.0.0.1:8470", "/tmp/x");
        assert!(text.contains("dhcp-range=10.0.0.10,10.0.0.99,1h\n") && !text.contains("proxy"), "{text}");
    }
}
