//! Brings the network up as the command line says, and prints what happens and when: `up [--also LINK]...
//! [--resolv-conf PATH] [IP=WORD]...`. Ends, and releases addresses, when standard input ends.

use std::io::Read;
use std::time::Instant;

use network::{Network, NetworkSettings, ip};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = NetworkSettings { set_hostname: false, resolv_conf: None, ..NetworkSettings::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--also" => settings.also.extend(words.next()),
            "--resolv-conf" => settings.resolv_conf = words.next().map(Into::into),
            word => settings.links.push(ip::parse(word.strip_prefix("ip=").unwrap_or(word))?),
        }
    }
    let began = Instant::now();
    let (network, events) = Network::start(settings)?;
    let printing = std::thread::spawn(move || {
        for event in events {
            println!("{:>9.3} ms  {event}", began.elapsed().as_secs_f64() * 1000.0);
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", network.status());
    network.stop();
    printing.join().map_err(|_| "the printing thread panicked")?;
    Ok(())
}
