//! `rocbed netboot`: boots machines over the network from an image.

mod files;
mod listen_address;
mod loaders;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, ensure};
use netboot::dnsmasq::{Dnsmasq, Mode};
use netboot::script::RootTransfer;
use netboot::server::{Content, Server};
use netboot::{Image, NetbootEvent, script};
use progress::{Progress as _, Unit};

use super::print;
use crate::cmdline::Netboot;
use crate::context::Context;
use loaders::Loaders;

/// Time that other DHCP servers have to answer.
const PROBE: Duration = Duration::from_secs(6);

/// Interval at which the program checks whether it should end.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Runs the command.
pub fn run(context: &Context, options: &Netboot) -> Result<()> {
    let scratch = tempfile::Builder::new().prefix("rocbed-netboot.").tempdir().context("making a directory")?;
    let image = open(context, &options.image, scratch.path())?;
    match &options.files {
        Some(directory) => files::write(context, options, &image, directory),
        None => serve(context, options, &image, scratch.path()),
    }
}

/// Opens an image, and compresses its root if need be.
pub fn open(context: &Context, directory: &Path, scratch: &Path) -> Result<Image> {
    let mut task = None;
    let length = fs::metadata(directory.join("root.img")).map(|metadata| metadata.len()).ok();
    let mut progress = |count: u64| {
        let task = task.get_or_insert_with(|| context.reporter.task("compressing the root", length, Unit::Bytes));
        task.advance(count);
    };
    Ok(Image::open(directory, scratch, &mut progress)?)
}

/// How machines get the root, from the options.
fn transfer(options: &Netboot) -> RootTransfer {
    if options.whole { RootTransfer::Whole } else { RootTransfer::OnDemand }
}

/// Words for the kernel command line, from the options.
fn words(options: &Netboot) -> Vec<String> {
    let hub = options.hub.iter().map(|hub| format!("rocbed.hub={hub}"));
    let token = options.join_token.iter().map(|token| format!("rocbed.join-token={}", token.reveal()));
    let settings = options.settings.iter().map(|setting| format!("rocbed.{setting}"));
    let append = options.append.iter().flat_map(|words| words.split_ascii_whitespace()).map(str::to_owned);
    hub.chain(token).chain(settings).chain(append).collect()
}

fn serve(context: &Context, options: &Netboot, image: &Image, scratch: &Path) -> Result<()> {
    let listen = listen_address::find(options)?;
    let mode = listen.mode(options)?;
    let loaders = if options.no_dhcp { None } else { Some(loaders::find(context, &options.source)?) };
    if let Some(mode) = mode {
        check_servers(context, &listen, mode)?;
    }
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).context("listening for signals")?;
    }
    let (sender, events) = channel();
    let address = (listen.address, options.port);
    let socket = TcpListener::bind(address)
        .with_context(|| format!("listening on {}:{}", listen.address, options.port))
        .help("--port gives another port")?;
    let base = format!("http://{}:{}", listen.address, socket.local_addr().context("reading the port")?.port());
    let directory = scratch.join("tftp");
    if let Some(loaders) = &loaders {
        loaders.write(&directory)?;
    }
    let mut content = Content::of_image(image, &base, transfer(options), &words(options))?;
    content.files.extend(loaders.map(Loaders::files).into_iter().flatten());
    let _server = Server::start(socket, content, sender.clone()).context("starting the HTTP server")?;
    let dnsmasq = match mode {
        Some(mode) => {
            let text = netboot::dnsmasq::configuration(
                mode,
                &listen.interface,
                listen.address,
                &base,
                &directory.display().to_string(),
            );
            let path = scratch.join("dnsmasq.conf");
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            readable(scratch)?;
            let verbose = context.reporter.is_verbose();
            let said = move |line: &str| {
                // dnsmasq's own problems are shown; the rest only to those who asked for details.
                if verbose || line.contains("failed") || line.contains("bad ") || line.contains("unknown") {
                    eprintln!("{line}");
                }
            };
            Some(Dnsmasq::start(&path, sender, said)?)
        }
        None => None,
    };
    context.reporter.say(&greeting(&listen, mode, &base));
    follow(options, &events, dnsmasq, &ended)
}

fn greeting(listen: &listen_address::ListenAddress, mode: Option<Mode>, base: &str) -> String {
    let how = match mode {
        Some(Mode::Proxy { .. }) => format!("beside the DHCP server on {}", listen.interface),
        Some(Mode::Isolated { first, last }) => format!("with addresses {first} to {last} on {}", listen.interface),
        None => "by HTTP only".to_owned(),
    };
    format!(
        "serving {how}: start machines by PXE or HTTP boot, or with iPXE: chain {base}/{}\nend with Ctrl-C",
        script::SCRIPT
    )
}

/// Makes the directory readable for dnsmasq, which changes its user id.
fn readable(scratch: &Path) -> Result<()> {
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(scratch, everybody).with_context(|| format!("opening {} to dnsmasq", scratch.display()))
}

/// Checks for other DHCP servers: two on one network would disrupt it, and a proxy without one would be useless.
fn check_servers(context: &Context, listen: &listen_address::ListenAddress, mode: Mode) -> Result<()> {
    let others = network::dhcp_servers(&listen.interface, PROBE).context("looking for DHCP servers")?;
    let names: Vec<_> = others.iter().map(ToString::to_string).collect();
    match mode {
        Mode::Isolated { .. } => ensure!(
            others.is_empty(),
            Advice::new(
                format!(
                    "there is a DHCP server on {} already ({}), and a second one that gives addresses would break that network",
                    listen.interface,
                    names.join(", ")
                ),
                "leave --isolated away, and this one only says what to start"
            )
        ),
        Mode::Proxy { .. } if others.is_empty() => {
            let what = format!(
                "no DHCP server answered on {} in {} s; without one, machines get no address",
                listen.interface,
                PROBE.as_secs()
            );
            let help = "--isolated FIRST-LAST gives them some, if this network really has no server";
            context.reporter.warn_of(&Advice::new(what, help).into());
        }
        Mode::Proxy { .. } => {
            context.reporter.say(&format!("DHCP server on {}: {}", listen.interface, names.join(", ")));
        }
    }
    Ok(())
}

/// Prints what the machines do, until the program is to end.
fn follow(
    options: &Netboot,
    events: &Receiver<NetbootEvent>,
    mut dnsmasq: Option<Dnsmasq>,
    ended: &AtomicBool,
) -> Result<()> {
    let mut last = None;
    loop {
        match events.recv_timeout(LOOK_AGAIN) {
            // Firmware asks for the same thing several times.
            Ok(event) if last.as_ref() == Some(&event) => {}
            Ok(event) => {
                let line = if options.json { serde_json::to_string(&event)? } else { event.to_string() };
                print(&format!("{line}\n"))?;
                last = Some(event);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        ensure!(
            !dnsmasq.as_mut().is_some_and(Dnsmasq::has_ended),
            Advice::new(
                "dnsmasq has ended; its last words are above",
                "another dnsmasq or DHCP server on this machine may have its ports: `ss -ulpn`"
            )
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn options_become_words_of_the_command_line() {
        let words_of = [
            "rocbed",
            "netboot",
            "i",
            "--hub",
            "http://h:8420",
            "--join-token",
            "t",
            "--set",
            "name=gpu7",
            "--append",
            "a b=c",
        ];
        let crate::cmdline::Command::Netboot(options) = crate::cmdline::Cli::parse_from(words_of).command else {
            panic!("another command")
        };
        assert_eq!(
            words(&options),
            ["rocbed.hub=http://h:8420", "rocbed.join-token=t", "rocbed.name=gpu7", "a", "b=c"]
        );
    }
}
