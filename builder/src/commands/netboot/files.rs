//! Writes everything that another boot server needs (`rocbed netboot --files`).

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use netboot::dnsmasq::{BIOS_LOADER, Mode, UEFI_LOADER, configuration};
use netboot::{INDEX, Image, ORDER, ROOT, script};

use super::{loaders, transfer, words};
use crate::cmdline::Netboot;
use crate::context::Context;

/// Writes the files.
pub fn write(context: &Context, options: &Netboot, image: &Image, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let base = options.url.trim_end_matches('/');
    let line = script::command_line(image, base, transfer(options), false, &words(options))?;
    let put = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    put(script::SCRIPT, script::ipxe(base, &line).as_bytes())?;
    put("cmdline", format!("{line}\n").as_bytes())?;
    put(script::INITRAMFS, &image.initramfs()?)?;
    put(INDEX, &image.index)?;
    for (from, name) in [(image.directory.join("vmlinuz"), script::KERNEL), (image.root.clone(), ROOT)] {
        let to = directory.join(name);
        fs::copy(&from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    // What an earlier server saw machines read, if there was one. One of another build is not used.
    match fs::read(image.root.with_file_name(ORDER)) {
        Ok(order) => put(ORDER, &order)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {ORDER} of the image")),
    }
    loaders::find(context, &options.source)?.write(directory)?;
    let network = Mode::Proxy { network: [192, 0, 2, 0].into(), netmask: [255, 255, 255, 0].into() };
    put("dnsmasq.conf", configuration(network, "eth0", [192, 0, 2, 1].into(), base, "/srv/tftp/rocbed").as_bytes())?;
    put("README.md", readme(base).as_bytes())?;
    context.reporter.say(&format!("wrote {}; README.md in it says what to edit", directory.display()));
    Ok(())
}

fn readme(base: &str) -> String {
    format!(
        "# rocbed over the network\n\n\
         | file | what it is | served by |\n|---|---|---|\n\
         | `{SCRIPT}` | what iPXE does; names all others under `{base}` | HTTP |\n\
         | `{KERNEL}`, `{INITRAMFS}` | the kernel, and an initramfs that reads the root | HTTP |\n\
         | `{ROOT}`, `{INDEX}` | the root, and where its parts are; checked against the digests in `{SCRIPT}` | HTTP |\n\
         | `{ORDER}` | which parts of the root starts read first, if that is known; only makes starts faster | HTTP |\n\
         | `{UEFI_LOADER}`, `{BIOS_LOADER}` | iPXE for UEFI and for BIOS | TFTP; for UEFI's HTTP boot HTTP |\n\
         | `cmdline` | the kernel command line alone, for other loaders | nobody |\n\
         | `dnsmasq.conf` | an example for DHCP (beside another server) and TFTP | dnsmasq |\n\n\
         ## What to edit\n\n\
         1. The address `{base}` in `{SCRIPT}` and `dnsmasq.conf`, if it is another; `rocbed netboot --files DIR --url URL`\n   \
            writes everything with it.\n\
         2. In `dnsmasq.conf`: `interface=`, the network in `dhcp-range=`, this server's address (192.0.2.1), and `tftp-root=`.\n\
         3. Settings of the appliance are words of the line `kernel` in `{SCRIPT}`: `rocbed.hub=http://hub:8420`.\n\n\
         All files belong together: after a new build, write them all anew. The HTTP server should know `Range`: from one\n\
         that does not, machines fetch the whole root before they start.\n",
        SCRIPT = script::SCRIPT,
        KERNEL = script::KERNEL,
        INITRAMFS = script::INITRAMFS,
    )
}
