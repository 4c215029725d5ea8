//! Appends sections to a stub.

use std::io::{self, Read, Write};
use std::sync::Arc;

use fsimage::Content;

use super::bzimage::longest_cmdline;
use super::headers::{CODE, DATA, Headers, SectionHeader};
use super::{NewSection, Parts, UkiError, bzimage_version, read, sbat};

/// Writes a unified kernel image from a stub and parts. Returns its length in bytes.
///
/// Sections are in ukify's order, which is the order in which systemd-stub measures them. A kernel in a file is read
/// into memory; all other contents stream.
///
/// # Errors
/// See [`UkiError`].
pub fn write(stub: &[u8], parts: &Parts, output: &mut dyn Write) -> Result<u64, UkiError> {
    let kernel = load(".linux", &parts.kernel)?;
    if parts.cmdline.contains('\0') {
        return Err(UkiError::Cmdline);
    }
    let length = parts.cmdline.len();
    if let Some(most) = longest_cmdline(&kernel).filter(|most| length as u64 > u64::from(*most)) {
        return Err(UkiError::CmdlineTooLong { length, most });
    }
    let uname = match &parts.uname {
        Some(uname) => uname.as_str(),
        None => bzimage_version(&kernel).ok_or(UkiError::Kernel)?,
    };
    let mut sections = vec![
        NewSection { name: ".osrel".into(), content: parts.os_release.clone(), code: false },
        NewSection::data(".cmdline", parts.cmdline.as_str()),
        NewSection::data(".uname", uname),
    ];
    sections.extend(parts.splash.iter().map(|splash| NewSection::data(".splash", splash.clone())));
    sections.push(NewSection { name: ".linux".into(), content: Content::Bytes(Arc::clone(&kernel)), code: true });
    sections.push(NewSection::data(".initrd", parts.initrd.clone()));

    let mut sources = Vec::new();
    let in_kernel = read::section(&kernel, ".sbat").ok().flatten();
    sources.extend(
        read::section(stub, ".sbat")
            .map_err(|_| UkiError::Stub("its sections cannot be read"))?
            .map(|text| ("stub", text)),
    );
    sources.extend(in_kernel.map(|text| ("kernel", text)));
    sources.extend(parts.sbat.as_ref().map(|text| (sbat::RECIPE, text.as_bytes())));
    let sbat = if sources.is_empty() { None } else { Some(sbat::merge(&sources)?) };

    // A kernel that is not an EFI program is refused by the stub.
    let nx_compatible = Headers::parse(&kernel).is_ok_and(|headers| headers.is_nx_compatible());
    append(stub, &sections, sbat.as_deref(), nx_compatible, output)
}

/// Appends sections, unchanged and in this order, to an EFI program, for example the addon stub (`addonx64.efi.stub`).
/// Returns the result's length in bytes.
///
/// # Errors
/// See [`UkiError`].
pub fn append_sections(stub: &[u8], sections: &[NewSection], output: &mut dyn Write) -> Result<u64, UkiError> {
    append(stub, sections, None, true, output)
}

fn append(
    stub: &[u8],
    sections: &[NewSection],
    sbat: Option<&str>,
    nx_compatible: bool,
    output: &mut dyn Write,
) -> Result<u64, UkiError> {
    let mut headers = Headers::parse(stub)?;
    if headers.is_signed() {
        return Err(UkiError::SignedStub);
    }
    headers.clear_checksum();
    if !nx_compatible {
        headers.clear_nx_compatible();
    }
    let mut sections = sections.to_vec();
    let replaced = sbat.map(|text| replace_sbat(&mut headers, &mut sections, text)).transpose()?.flatten();
    let (room, needed) = (headers.room(), sections.len());
    if needed > room {
        return Err(UkiError::HeaderFull { room, needed });
    }

    // All addresses first: the headers are written before the content.
    let mut raw_end = round_up(stub.len() as u64, headers.file_alignment);
    for section in &sections {
        let header = place(&headers, section, raw_end)?;
        raw_end += u64::from(header.raw_size);
        headers.add(&header);
    }

    let mut put = |bytes: &[u8]| output.write_all(bytes).map_err(UkiError::Write);
    put(&headers.bytes)?;
    let rest = &stub[headers.bytes.len()..];
    match replaced {
        // Takes the place of the stub's own, which is at least as large.
        Some((at, bytes)) => {
            let at = at - headers.bytes.len();
            put(&rest[..at])?;
            put(&bytes)?;
            put(&rest[at + bytes.len()..])?;
        }
        None => put(rest)?,
    }
    put(&padding(stub.len() as u64, headers.file_alignment))?;
    for section in &sections {
        let length = section.content.len();
        stream(section, output)?;
        output.write_all(&padding(length, headers.file_alignment)).map_err(UkiError::Write)?;
    }
    Ok(raw_end)
}

/// Puts SBAT data into the stub's section, which has to be large enough, or appends a section if there is none.
/// Returns the new bytes with their offset in the stub.
fn replace_sbat(
    headers: &mut Headers,
    sections: &mut Vec<NewSection>,
    text: &str,
) -> Result<Option<(usize, Vec<u8>)>, UkiError> {
    let present = headers.sections().into_iter().enumerate().find(|(_, section)| &section.name == b".sbat\0\0\0");
    let Some((index, mut header)) = present else {
        sections.push(NewSection::data(".sbat", text));
        return Ok(None);
    };
    let room = header.raw_size as usize;
    if text.len() > room {
        return Err(UkiError::SbatTooLarge { room, needed: text.len() });
    }
    if (header.raw_offset as usize) < headers.bytes.len() {
        return Err(UkiError::Stub("its SBAT data is inside of its header"));
    }
    header.virtual_size = text.len() as u32;
    headers.set(index, &header);
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(room, 0);
    Ok(Some((header.raw_offset as usize, bytes)))
}

/// The header of a section that is placed after all others, in memory and in the file.
fn place(headers: &Headers, section: &NewSection, raw_offset: u64) -> Result<SectionHeader, UkiError> {
    let NewSection { name, content, code } = section;
    let bytes = name.as_bytes();
    if !name.is_ascii() || !name.starts_with('.') || bytes.len() < 2 || bytes.len() > 8 || bytes.contains(&0) {
        return Err(UkiError::SectionName(name.clone()));
    }
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    let others = headers.sections();
    if others.iter().any(|other| other.name == padded) {
        return Err(UkiError::Duplicate(name.clone()));
    }
    let end =
        |other: &SectionHeader| u64::from(other.virtual_address) + u64::from(other.virtual_size.max(other.raw_size));
    let virtual_address = round_up(others.iter().map(end).max().unwrap_or(0), headers.section_alignment);
    let raw_size = round_up(content.len(), headers.file_alignment);
    let too_large = || UkiError::TooLarge(name.clone());
    let fits = |number: u64| u32::try_from(number).map_err(|_| too_large());
    // One alignment below 4 GiB: sizes are rounded up after this.
    if virtual_address.max(raw_offset) + raw_size > u64::from(u32::MAX - (1 << 20)) {
        return Err(too_large());
    }
    Ok(SectionHeader {
        name: padded,
        virtual_size: fits(content.len())?,
        virtual_address: fits(virtual_address)?,
        raw_size: fits(raw_size)?,
        raw_offset: fits(raw_offset)?,
        characteristics: if *code { CODE } else { DATA },
    })
}

fn load(name: &str, content: &Content) -> Result<Arc<[u8]>, UkiError> {
    if let Content::Bytes(bytes) = content {
        return Ok(Arc::clone(bytes));
    }
    let mut bytes = Vec::new();
    let failed = |source: io::Error| UkiError::Content { name: name.to_owned(), source };
    content.open().map_err(failed)?.take(content.len() + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 != content.len() {
        return Err(UkiError::Changed { name: name.to_owned(), expected: content.len() });
    }
    Ok(bytes.into())
}

fn stream(section: &NewSection, output: &mut dyn Write) -> Result<(), UkiError> {
    let NewSection { name, content, .. } = section;
    if let Content::Bytes(bytes) = content {
        return output.write_all(bytes).map_err(UkiError::Write);
    }
    let failed = |source: io::Error| UkiError::Content { name: name.clone(), source };
    let mut reader = content.open().map_err(failed)?.take(content.len() + 1);
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let part = match reader.read(&mut buffer) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        done += part as u64;
        if done > content.len() || (part == 0 && done < content.len()) {
            return Err(UkiError::Changed { name: name.clone(), expected: content.len() });
        }
        if part == 0 {
            return Ok(());
        }
        output.write_all(&buffer[..part]).map_err(UkiError::Write)?;
    }
}

fn round_up(number: u64, alignment: u32) -> u64 {
    number.next_multiple_of(alignment.into())
}

fn padding(length: u64, alignment: u32) -> Vec<u8> {
    vec![0; (round_up(length, alignment) - length) as usize]
}
