//! Reads the sections of untrusted unified kernel images and other PE programs.

use object::LittleEndian;
use object::pe::IMAGE_DIRECTORY_ENTRY_SECURITY;
use object::read::pe::{ImageNtHeaders, PeFile64};

/// A section of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionInfo {
    /// Section name; bytes that are not ASCII are replaced.
    pub name: String,
    /// Address in memory, relative to the start of the program.
    pub virtual_address: u32,
    /// Size of the content in bytes.
    pub size: u32,
}

/// A program that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading an EFI program: {0}")]
pub struct ReadError(String);

impl From<object::Error> for ReadError {
    fn from(error: object::Error) -> Self {
        Self(error.to_string())
    }
}

/// The sections of a program, in their order.
///
/// # Errors
/// If this is not a 64-bit PE program.
pub fn sections(program: &[u8]) -> Result<Vec<SectionInfo>, ReadError> {
    let info = |(header, data): (&object::pe::ImageSectionHeader, &[u8])| SectionInfo {
        name: String::from_utf8_lossy(header.raw_name()).into_owned(),
        virtual_address: header.virtual_address.get(LittleEndian),
        size: data.len() as u32,
    };
    Ok(contents(program)?.into_iter().map(info).collect())
}

/// The bytes of a section, without padding; `None` if there is no section of that name.
///
/// # Errors
/// If this is not a 64-bit PE program.
pub fn section<'a>(program: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, ReadError> {
    let found = contents(program)?.into_iter().find(|(header, _)| header.raw_name() == name.as_bytes());
    Ok(found.map(|(_, data)| data))
}

/// Whether a program carries a signature (PE format, "Attribute Certificate Table"). Whose it is, and whether it is
/// good, is for the firmware to find out.
///
/// # Errors
/// If this is not a 64-bit PE program.
pub fn is_signed(program: &[u8]) -> Result<bool, ReadError> {
    let file = PeFile64::parse(program)?;
    let table = file.data_directories().get(IMAGE_DIRECTORY_ENTRY_SECURITY);
    Ok(table.is_some_and(|table| table.size.get(LittleEndian) != 0))
}

type Section<'a> = (&'a object::pe::ImageSectionHeader, &'a [u8]);

fn contents(program: &[u8]) -> Result<Vec<Section<'_>>, ReadError> {
    let file = PeFile64::parse(program)?;
    debug_assert!(file.nt_headers().is_valid_optional_magic());
    file.section_table().iter().map(|header| Ok((header, header.pe_data(program)?))).collect()
}
