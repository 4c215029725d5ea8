//! Options of `rocbed netboot`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use advice::Advice;
use clap::Args;
use protocol::settings::{self, SettingSource};
use safetext::Secret;

/// `rocbed netboot`
#[derive(Debug, Args)]
pub struct Netboot {
    /// An image directory
    pub image: PathBuf,
    /// The network card whose network is served [default: the one with the default route]
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Give addresses too, from this range: for a network that has no DHCP server of its own
    #[arg(long, value_name = "FIRST-LAST", value_parser = range)]
    pub isolated: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Serve HTTP only; loaders are told where by a DHCP server of your own. Needs no root
    #[arg(long, conflicts_with = "isolated")]
    pub no_dhcp: bool,
    /// Where to serve HTTP [default: the interface's address]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Ipv4Addr>,
    /// The port for HTTP
    #[arg(long, default_value_t = 8470)]
    pub port: u16,
    /// The hub that the machines work for
    #[arg(long, value_name = "URL", value_parser = hub)]
    pub hub: Option<String>,
    /// What makes a machine the hub's worker. Whoever is on the network can read it
    #[arg(long, value_name = "TOKEN", env = "ROCBED_JOIN_TOKEN", hide_env_values = true, value_parser = join_token)]
    pub join_token: Option<Secret>,
    /// A setting of the appliance, as on the kernel command line without rocbed.: name=gpu7
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub settings: Vec<String>,
    /// Have machines fetch the whole root before they start, instead of parts of it when they are read
    #[arg(long)]
    pub whole: bool,
    /// More words for the kernel command line
    #[arg(long, value_name = "WORDS")]
    pub append: Option<String>,
    /// Serve nothing; write everything for a server of your own into this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["interface", "isolated", "no_dhcp", "listen"])]
    pub files: Option<PathBuf>,
    /// The address that the files will be served at, with --files
    #[arg(long, value_name = "URL", requires = "files", default_value = "http://192.0.2.1/rocbed", value_parser = address)]
    pub url: String,
    /// Print what machines do as JSON, a line for each step
    #[arg(long)]
    pub json: bool,
    /// Where iPXE is fetched from if it is not installed.
    #[command(flatten)]
    pub source: super::Source,
}

fn range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let wrong = || format!("{text:?} is not a range of addresses, such as 10.9.0.10-10.9.0.99");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last) = (first.trim().parse().map_err(|_| wrong())?, last.trim().parse().map_err(|_| wrong())?);
    if first <= last { Ok((first, last)) } else { Err(wrong()) }
}

fn setting(text: &str) -> Result<String, String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is not a setting: give NAME=VALUE, such as name=gpu7"))?;
    settings::check(name, value, SettingSource::CommandLine)
        .map(|_| text.to_owned())
        .map_err(|error| Advice::of(&error).in_one_line())
}

/// Machines fetch everything from below it, iPXE and rocbed-init by the same words.
fn address(text: &str) -> Result<String, String> {
    let checked = settings::check("root-url", text, SettingSource::CommandLine).map(|_| text.to_owned());
    let with_scheme = format!("http://{text}");
    checked.map_err(|_| match settings::check("root-url", &with_scheme, SettingSource::CommandLine) {
        Ok(_) if !text.is_empty() && !text.contains("://") => {
            format!("`{text}` has no scheme; did you mean {with_scheme}?")
        }
        _ => format!("`{text}` is not an address; it begins with http:// or https://"),
    })
}

fn hub(text: &str) -> Result<String, String> {
    setting(&format!("hub={text}")).map(|_| text.to_owned())
}

fn join_token(text: &str) -> Result<Secret, String> {
    setting(&format!("join-token={}", text.trim())).map(|_| Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_settings() {
        assert_eq!(range("10.9.0.10-10.9.0.99"), Ok((Ipv4Addr::new(10, 9, 0, 10), Ipv4Addr::new(10, 9, 0, 99))));
        assert!(range("10.9.0.99-10.9.0.10").is_err() && range("10.9.0.0/24").is_err());
        assert!(setting("name=gpu7").is_ok() && setting("hub=http://a?b=c").is_ok());
        assert_eq!(address("http://192.0.2.7/rocbed").as_deref(), Ok("http://192.0.2.7/rocbed"));
        for (text, told) in [
            ("192.0.2.7:8080/rocbed", "did you mean http://192.0.2.7:8080/rocbed?"),
            ("boot.example", "did you mean http://boot.example?"),
            ("ftp://boot.example/", "begins with http:// or https://"),
            ("http://a b/", "begins with http:// or https://"),
            ("", "begins with http:// or https://"),
        ] {
            assert!(address(text).is_err_and(|error| error.contains(told)), "{text}");
        }
        assert!(setting("name").is_err() && setting("rocbed.name=x").is_err() && setting("=x").is_err());
        assert!(hub("http://192.0.2.7:8420").is_ok() && hub("192.0.2.7:8420").is_err() && hub("http://a b").is_err());
        assert_eq!(join_token("rocbed-join-1\n"), Ok(Secret::new("rocbed-join-1")));
        assert!(join_token("a b").is_err());
        assert!(setting("nmae=gpu7").is_err_and(|error| error.contains("did you mean `name`?")));
    }
}
