//! Compares our indexes with those of kmod's own programs, on a small generated tree of modules.
#![cfg(feature = "index")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use kmod::ModuleIndex;
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const VERSION: &str = "1.2.3-test";

/// An ELF file that depmod accepts as a module: `.modinfo`, exported symbols, and undefined symbols.
fn elf(modinfo: &[&str], exports: &[&str], needs: &[&str]) -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section = |object: &mut Object<'_>, name: &str, strings: &[&str]| {
        let id = object.add_section(Vec::new(), name.into(), SectionKind::ReadOnlyData);
        let bytes: Vec<u8> = strings.iter().flat_map(|string| [string.as_bytes(), b"\0"].concat()).collect();
        object.append_section_data(id, &bytes, 1);
        id
    };
    section(&mut object, ".modinfo", modinfo);
    let strings = section(&mut object, "__ksymtab_strings", exports);
    let mut symbol = |name: String, section| {
        object.add_symbol(Symbol {
            name: name.into_bytes(),
            value: 0,
            size: 0,
            kind: SymbolKind::Data,
            scope: SymbolScope::Dynamic,
            weak: false,
            section,
            flags: SymbolFlags::None,
        });
    };
    for name in exports {
        symbol(format!("__ksymtab_{name}"), SymbolSection::Section(strings));
    }
    for name in needs {
        symbol((*name).to_owned(), SymbolSection::Undefined);
    }
    Ok(object.write()?)
}

/// Five modules: plain, xz and zstd; two levels of dependencies, aliases, a soft dependency, a built-in module.
fn tree(root: &Path) -> Result {
    let directory = root.join("lib/modules").join(VERSION);
    let put = |path: &str, bytes: Vec<u8>| -> Result {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        let bytes = match path.extension().and_then(|extension| extension.to_str()) {
            Some("xz") => {
                let mut packed = Vec::new();
                std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(&bytes[..], 0), &mut packed)?;
                packed
            }
            Some("zst") => zstd::encode_all(&bytes[..], 1)?,
            _ => bytes,
        };
        Ok(fs::write(path, bytes)?)
    };
    put("kernel/lib/crc16.ko", elf(&["name=crc16", "license=GPL", "depends="], &["crc16"], &[])?)?;
    let jbd2 = ["name=jbd2", "depends=crc16", "softdep=pre: crypto-crc32c"];
    put("kernel/fs/jbd2/jbd2.ko.xz", elf(&jbd2, &["jbd2_start", "jbd2_stop"], &["crc16"])?)?;
    let ext4 = ["name=ext4", "alias=fs-ext4", "alias=ext3", "depends=jbd2,crc16"];
    put("kernel/fs/ext4/ext4.ko.xz", elf(&ext4, &[], &["jbd2_start", "crc16"])?)?;
    let crc = ["name=crc32c_cryptoapi", "alias=crypto-crc32c", "depends="];
    put("kernel/crypto/crc32c-cryptoapi.ko.zst", elf(&crc, &[], &[])?)?;
    let usb = ["name=usb_storage", "alias=usb:v054Cp002Ed01[0-5]*dc*", "alias=usb:v*ic08isc06ip50in*", "depends="];
    put("kernel/drivers/usb/storage/usb-storage.ko", elf(&usb, &["usb_stor_probe"], &[])?)?;
    put("modules.order", b"kernel/fs/jbd2/jbd2.ko\nkernel/lib/crc16.ko\nkernel/fs/ext4/ext4.ko\n".to_vec())?;
    put("modules.builtin", b"kernel/drivers/virtio/virtio_pci.ko\n".to_vec())?;
    put("modules.builtin.modinfo", b"virtio_pci.alias=pci:v00001AF4d*\0virtio_pci.license=GPL\0".to_vec())
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH")?))
        .output()
        .map_err(|error| format!("{program}: {error}; this test needs Debian's package kmod"))?;
    if !output.status.success() {
        return Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Lines with all words but the first sorted: the order of independent dependencies is arbitrary.
fn lines(text: &str) -> BTreeSet<String> {
    let sorted = |line: &str| {
        let mut words: Vec<_> = line.split_ascii_whitespace().collect();
        words.get_mut(1..).unwrap_or_default().sort_unstable();
        words.join(" ")
    };
    text.lines().map(sorted).collect()
}

#[test]
fn depmod_writes_the_same_text() -> Result {
    let root = tempfile::tempdir()?;
    tree(root.path())?;
    let directory = root.path().join("lib/modules").join(VERSION);
    let ours = ModuleIndex::from_directory(&directory, &progress::Silent)?.files();
    run("depmod", &["-b", root.path().to_str().ok_or("path")?, VERSION])?;
    for name in ["modules.dep", "modules.alias", "modules.softdep", "modules.symbols"] {
        let theirs = fs::read_to_string(directory.join(name))?;
        assert_eq!(lines(std::str::from_utf8(&ours[name])?), lines(&theirs), "{name}");
    }
    for name in ["modules.builtin.bin", "modules.builtin.alias.bin", "modules.symbols.bin"] {
        assert_eq!(ours[name], fs::read(directory.join(name))?, "{name}");
    }
    Ok(())
}

#[test]
fn modprobe_reads_our_binary_indexes() -> Result {
    let root = tempfile::tempdir()?;
    tree(root.path())?;
    let directory = root.path().join("lib/modules").join(VERSION);
    for (name, bytes) in ModuleIndex::from_directory(&directory, &progress::Silent)?.files() {
        if Path::new(name).extension().is_some_and(|extension| extension == "bin") {
            fs::write(directory.join(name), bytes)?;
        }
    }
    let base = root.path().to_str().ok_or("path")?;
    let probe = |name: &str| run("modprobe", &["-C", "/dev/null", "-d", base, "-S", VERSION, "--show-depends", name]);
    let names =
        |text: &str| -> Vec<String> { text.lines().filter_map(|line| kmod::module_name(line.trim())).collect() };
    assert_eq!(names(&probe("ext4")?), ["crc16", "jbd2", "ext4"]);
    assert_eq!(names(&probe("fs-ext4")?), ["crc16", "jbd2", "ext4"]);
    assert_eq!(names(&probe("usb:v054Cp002Ed0103dc00")?), ["usb_storage"]);
    assert_eq!(names(&probe("usb:v1p2ic08isc06ip50in00")?), ["usb_storage"]);
    assert_eq!(names(&probe("symbol:jbd2_stop")?), ["crc16", "jbd2"]);
    assert_eq!(probe("virtio-pci")?.trim(), "builtin virtio_pci");
    assert!(probe("nothing").is_err());
    Ok(())
}

#[test]
fn every_run_gives_the_same_bytes() -> Result {
    let root = tempfile::tempdir()?;
    tree(root.path())?;
    let directory = root.path().join("lib/modules").join(VERSION);
    let once = || ModuleIndex::from_directory(&directory, &progress::Silent).map(|index| index.files());
    assert_eq!(once()?, once()?);
    Ok(())
}
