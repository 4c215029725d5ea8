//! Verifies an InRelease file with Debian's keyring and shows what it says:
//!
//!     cargo run -p archive --example verify -- InRelease

use archive::release::{Keyring, Release, ValidUntil, verify_inrelease};
use std::{
    error::Error,
    time::{Instant, SystemTime},
};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name an InRelease file")?;
    let keyring = Keyring::debian_archive()?;
    let bytes = std::fs::read(path)?;
    let start = Instant::now();
    let verified = verify_inrelease(&bytes, &keyring, SystemTime::now())?;
    println!("verified in {:?}", start.elapsed());
    for signer in &verified.signers {
        println!("signed by {} {}", signer.fingerprint, signer.user_id);
    }
    for rejected in &verified.rejected {
        println!("not counted: {rejected}");
    }
    let release = Release::parse(&verified.text)?;
    println!(
        "{:?} of {}, {} indexes, components {:?}",
        release.codename,
        release.date,
        release.indexes.len(),
        release.components
    );
    match release.check_valid_until(SystemTime::now(), ValidUntil::Check) {
        Ok(()) => println!("valid"),
        Err(error) => println!("{error}"),
    }
    Ok(())
}
