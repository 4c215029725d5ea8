//! Tests of unified kernel images made from a generated stub, read with `object` and objdump.

use std::process::Command;

use diskimage::uki::{self, NewSection, Parts, UkiError, append_sections, section, sections};
use fsimage::Content;
use proptest::prelude::*;

const STUB_SBAT: &[u8] = b"sbat,1,SBAT Version,sbat,1,url\nsystemd-stub,1,The systemd Developers,systemd,262,url\n";

/// An EFI program with a `.text` of one page and a `.sbat`, and room for `room` more headers.
fn stub(room: usize) -> Vec<u8> {
    let size_of_headers = (0x40 + 24 + 240 + (2 + room) * 40_usize).next_multiple_of(512);
    let mut stub = vec![0; size_of_headers + 512 + 512];
    let mut put = |at: usize, bytes: &[u8]| stub[at..at + bytes.len()].copy_from_slice(bytes);
    let (coff, optional) = (0x44, 0x58);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(coff, &0x8664_u16.to_le_bytes());
    put(coff + 2, &2_u16.to_le_bytes());
    put(coff + 16, &240_u16.to_le_bytes());
    put(coff + 18, &0x22e_u16.to_le_bytes());
    put(optional, &0x20b_u16.to_le_bytes());
    put(optional + 24, &0x1_4000_0000_u64.to_le_bytes());
    put(optional + 32, &4096_u32.to_le_bytes());
    put(optional + 36, &512_u32.to_le_bytes());
    put(optional + 56, &0x3000_u32.to_le_bytes());
    // The room asked for is exact: the header ends where the table would.
    put(optional + 60, &(size_of_headers as u32).to_le_bytes());
    put(optional + 64, &0xdead_beef_u32.to_le_bytes());
    put(optional + 68, &10_u16.to_le_bytes());
    put(optional + 70, &0x160_u16.to_le_bytes());
    put(optional + 108, &16_u32.to_le_bytes());
    for (index, (name, address, size, flags)) in [
        (b".text\0\0\0", 0x1000_u32, 300_u32, 0x6000_0020_u32),
        (b".sbat\0\0\0", 0x2000, STUB_SBAT.len() as u32, 0x4000_0040),
    ]
    .into_iter()
    .enumerate()
    {
        let at = optional + 240 + index * 40;
        put(at, name);
        put(at + 8, &size.to_le_bytes());
        put(at + 12, &address.to_le_bytes());
        put(at + 16, &512_u32.to_le_bytes());
        put(at + 20, &(size_of_headers as u32 + index as u32 * 512).to_le_bytes());
        put(at + 36, &flags.to_le_bytes());
    }
    put(size_of_headers, &[0xc3; 300]);
    put(size_of_headers + 512, STUB_SBAT);
    stub
}

/// A bzImage that is an EFI program too, as kernels are.
fn kernel() -> Vec<u8> {
    let mut kernel = stub(30);
    kernel.resize(40_000, 9);
    kernel[0x1f1] = 20;
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e..0x210].copy_from_slice(&0x1000_u16.to_le_bytes());
    kernel[0x1200..0x120f].copy_from_slice(b"7.2.13 (x) #1\0\0");
    kernel
}

fn parts() -> Parts {
    Parts {
        os_release: "ID=debian\n".into(),
        cmdline: "quiet console=ttyS0".into(),
        uname: None,
        splash: None,
        kernel: kernel().into(),
        initrd: vec![5; 100_001].into(),
        sbat: Some("rocbed,1,rocbed,rocbed,1,url".into()),
    }
}

fn build(stub: &[u8], parts: &Parts) -> Result<Vec<u8>, UkiError> {
    let mut image = Vec::new();
    let length = uki::write(stub, parts, &mut image)?;
    assert_eq!(length, image.len() as u64);
    Ok(image)
}

#[test]
fn every_part_is_in_its_section() {
    let image = build(&stub(20), &parts()).unwrap();
    let names: Vec<_> = sections(&image).unwrap().into_iter().map(|section| section.name).collect();
    assert_eq!(names, [".text", ".sbat", ".osrel", ".cmdline", ".uname", ".linux", ".initrd"]);
    let part = |name| section(&image, name).unwrap().unwrap();
    assert_eq!(part(".osrel"), b"ID=debian\n");
    assert_eq!(part(".cmdline"), b"quiet console=ttyS0");
    assert_eq!(part(".uname"), b"7.2.13");
    assert!(part(".linux") == kernel() && part(".initrd") == vec![5; 100_001]);
    assert_eq!(part(".text"), [0xc3; 300]);
    let sbat = String::from_utf8(part(".sbat").to_vec()).unwrap();
    let components: Vec<_> = sbat.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(components, ["sbat", "systemd-stub", "rocbed"]);
    assert_eq!(section(&image, ".splash").unwrap(), None);
    assert!(build(&stub(20), &parts()).unwrap() == image, "the same input gives the same bytes");
}

#[test]
fn headers_agree_with_the_sections() {
    let image = build(&stub(20), &parts()).unwrap();
    let le = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let last = sections(&image).unwrap().pop().unwrap();
    let size_of_image = le(0x58 + 56);
    assert_eq!(size_of_image, (last.virtual_address + last.size).next_multiple_of(4096));
    assert_eq!(le(0x58 + 64), 0, "the stub's checksum is not the image's");
    assert_eq!(le(0x58 + 8), 10 + 19 + 6 + 100_001, "initialized data");
    assert_eq!(le(0x58 + 4), 40_000, "code");
    assert_eq!(image.len() % 512, 0);

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &image).unwrap();
    let output = Command::new("objdump").arg("-h").arg(file.path()).output();
    let output = output.unwrap_or_else(|error| panic!("objdump: {error}; install the Debian package binutils"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("pei-x86-64") && text.contains(".initrd"), "{text}");
}

#[test]
fn files_stream_and_have_to_keep_their_length() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("initrd");
    std::fs::write(&path, vec![5; 100_001]).unwrap();
    let with = |length| Parts { initrd: Content::HostFile { path: path.clone(), length }, ..parts() };
    assert!(build(&stub(20), &with(100_001)).unwrap() == build(&stub(20), &parts()).unwrap());
    for length in [100_000, 100_002] {
        let error = build(&stub(20), &with(length)).unwrap_err();
        assert!(error.to_string().contains("\".initrd\" has changed"), "{error}");
    }
}

#[test]
fn a_kernel_that_cannot_bear_nx_takes_the_flag_from_the_image() {
    let flags = |image: &[u8]| u16::from_le_bytes([image[0x58 + 70], image[0x58 + 71]]);
    assert_eq!(flags(&build(&stub(20), &parts()).unwrap()), 0x160);
    let mut kernel = kernel();
    kernel[0x58 + 71] = 0;
    assert_eq!(flags(&build(&stub(20), &Parts { kernel: kernel.into(), ..parts() }).unwrap()), 0x060);
}

#[test]
fn refuses_with_a_reason() {
    let refuse = |stub: &[u8], parts: &Parts| build(stub, parts).unwrap_err().to_string();
    assert!(refuse(b"hello", &parts()).contains("not an EFI program"));
    let mut signed = stub(20);
    signed[0x58 + 112 + 32] = 1;
    assert!(refuse(&signed, &parts()).contains("signed"));
    let mut directories = stub(20);
    directories[0x58 + 109] = 0x10;
    let error = append_sections(&directories, &[], &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("data directories"), "{error}");
    assert!(refuse(&stub(1), &parts()).contains("and 5 are to be added"));
    let long = "component,1,x,y,1,a long url to fill the stub's section\n".repeat(20);
    let lines: String =
        long.lines().zip(0..).fold(String::new(), |lines, (line, number)| lines + &format!("{number}{line}\n"));
    assert!(refuse(&stub(20), &Parts { sbat: Some(lines), ..parts() }).contains("has room for 512"));
    assert!(refuse(&stub(20), &Parts { kernel: "MZ".into(), ..parts() }).contains("bzImage"));
    assert!(refuse(&stub(20), &Parts { cmdline: "a\0b".into(), ..parts() }).contains("NUL"));

    let mut kernel = kernel();
    kernel[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    kernel[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
    let with = |length| Parts { cmdline: "x".repeat(length), kernel: kernel.clone().into(), ..parts() };
    assert!(refuse(&stub(20), &with(2048)).contains("takes 2047"));
    build(&stub(20), &with(2047)).unwrap();

    let append =
        |sections: &[NewSection]| append_sections(&stub(20), sections, &mut Vec::new()).unwrap_err().to_string();
    assert!(append(&[NewSection::data(".text", "x")]).contains("two sections"));
    assert!(append(&[NewSection::data(".far-too-long", "x")]).contains("not a section name"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sections_round_trip(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..12)) {
        let new: Vec<_> = contents.iter().enumerate().map(|(index, bytes)| NewSection::data(&format!(".s{index}"), bytes.clone())).collect();
        let mut image = Vec::new();
        append_sections(&stub(20), &new, &mut image).unwrap();
        for (index, bytes) in contents.iter().enumerate() {
            prop_assert_eq!(section(&image, &format!(".s{index}")).unwrap(), Some(&bytes[..]));
        }
        let mut end = 0;
        for section in sections(&image).unwrap() {
            prop_assert!(section.virtual_address >= end && section.virtual_address % 4096 == 0);
            end = section.virtual_address + section.size;
        }
    }

    #[test]
    fn hostile_programs_never_panic(changes in prop::collection::vec((0_usize..600, any::<u8>()), 0..10), length in 0_usize..3000) {
        let mut program = stub(3);
        for (at, value) in changes {
            program[at] = value;
        }
        for program in [&program[..length.min(program.len())], &program] {
            let _sections_or_error = sections(program);
            let _bytes_or_error = section(program, ".sbat");
            let _image_or_error = build(program, &parts());
            let _image_or_error = build(&stub(20), &Parts { kernel: program.to_vec().into(), uname: Some("1".into()), ..parts() });
        }
    }
}
