//! Writes the index files of a `/usr/lib/modules/<version>` directory into another one, and says what the default
//! initramfs would carry: `cargo run -p kmod --example depmod -- DIRECTORY OUTPUT`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use kmod::{DEFAULT_INITRAMFS, ModuleIndex};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(directory), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: depmod DIRECTORY OUTPUT".into());
    };
    let start = Instant::now();
    let index = ModuleIndex::from_directory(&directory, &progress::Silent)?;
    println!("{} modules read in {:.1?}", index.modules().len(), start.elapsed());
    let start = Instant::now();
    std::fs::create_dir_all(&output)?;
    for (name, bytes) in index.files() {
        std::fs::write(output.join(name), bytes)?;
    }
    println!("index files written in {:.1?}", start.elapsed());
    let mut all: Vec<&str> = Vec::new();
    for group in DEFAULT_INITRAMFS {
        let closure = index.closure(group.requests)?;
        println!("{:4} modules {:>8} KiB  {}", closure.paths.len(), size(&directory, &closure)? >> 10, group.reason);
        all.extend(group.requests);
    }
    let closure = index.closure(&all)?;
    println!("{:4} modules {:>8} KiB  together", closure.paths.len(), size(&directory, &closure)? >> 10);
    println!("{} firmware files declared", closure.firmware.len());
    std::fs::write(
        output.join("initramfs.list"),
        closure.paths.iter().map(String::as_str).collect::<Vec<_>>().join("\n") + "\n",
    )?;
    std::fs::write(output.join("initramfs.dep"), index.subset(&closure.paths).dep())?;
    std::fs::write(output.join("initramfs.alias"), index.subset(&closure.paths).alias())?;
    std::fs::write(output.join("initramfs.softdep"), index.subset(&closure.paths).softdep())?;
    Ok(())
}

fn size(directory: &std::path::Path, closure: &kmod::Closure) -> std::io::Result<u64> {
    closure.paths.iter().map(|path| Ok(std::fs::metadata(directory.join(path))?.len())).sum()
}
