//! Headers of a 64-bit PE program, as far as needed for appending sections (PE format, "COFF File Header", "Optional
//! Header", "Section Table").

use super::UkiError;

/// Size of a section header in bytes.
pub(super) const SECTION_HEADER: usize = 40;

/// `IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_READ`
pub(super) const CODE: u32 = 0x4000_0020;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`
pub(super) const DATA: u32 = 0x4000_0040;
/// `IMAGE_DLLCHARACTEISTICS_NX_COMPAT`: writable memory is not executable.
const NX_COMPAT: u16 = 0x0100;

/// A modifiable copy of a program's headers, with the positions of the fields.
pub(super) struct Headers {
    pub(super) bytes: Vec<u8>,
    coff: usize,
    optional: usize,
    table: usize,
    pub(super) section_alignment: u32,
    pub(super) file_alignment: u32,
}

/// Fields of a section's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionHeader {
    pub(super) name: [u8; 8],
    pub(super) virtual_size: u32,
    pub(super) virtual_address: u32,
    pub(super) raw_size: u32,
    pub(super) raw_offset: u32,
    pub(super) characteristics: u32,
}

impl Headers {
    pub(super) fn parse(program: &[u8]) -> Result<Self, UkiError> {
        let short = UkiError::Stub("its header is cut short");
        let le = |at: usize| {
            program
                .get(at..at.checked_add(4)?)
                .and_then(|bytes| bytes.first_chunk::<4>())
                .copied()
                .map(u32::from_le_bytes)
        };
        if !program.starts_with(b"MZ") {
            return Err(UkiError::Stub("it does not start with MZ"));
        }
        let Some(signature) = le(0x3c).map(|at| at as usize) else { return Err(short) };
        if le(signature) != Some(u32::from_le_bytes(*b"PE\0\0")) {
            return Err(UkiError::Stub("the PE signature is missing"));
        }
        let (coff, optional) = (signature + 4, signature + 24);
        let (Some(counts), Some(sizes), Some(magic)) = (le(coff), le(coff + 16), le(optional)) else {
            return Err(short);
        };
        if magic as u16 != 0x20b {
            return Err(UkiError::Stub("it is not PE32+"));
        }
        let optional_size = sizes as usize & 0xffff;
        // Up to and with the data directory of signatures.
        if optional_size < 112 + 5 * 8 {
            return Err(UkiError::Stub("its optional header is too short"));
        }
        // NumberOfRvaAndSizes: the signature's entry has to be among the data directories.
        let Some(directories) = le(optional + 108).map(|count| count as usize) else { return Err(short) };
        if directories < 5 || directories > (optional_size - 112) / 8 {
            return Err(UkiError::Stub("its number of data directories is impossible"));
        }
        let table = optional + optional_size;
        let count = (counts >> 16) as usize;
        let (Some(size_of_headers), Some(section_alignment), Some(file_alignment)) =
            (le(optional + 60), le(optional + 32), le(optional + 36))
        else {
            return Err(short);
        };
        let Some(bytes) = program.get(..size_of_headers as usize) else { return Err(short) };
        if table + count * SECTION_HEADER > bytes.len() || count == 0 {
            return Err(UkiError::Stub("its section table is outside of its header"));
        }
        let aligned = |alignment: u32| alignment.is_power_of_two() && alignment <= 1 << 20;
        if !aligned(section_alignment) || !aligned(file_alignment) {
            return Err(UkiError::Stub("its alignments are impossible"));
        }
        let headers = Self { bytes: bytes.to_vec(), coff, optional, table, section_alignment, file_alignment };
        for section in headers.sections() {
            let end = u64::from(section.raw_offset) + u64::from(section.raw_size);
            if section.raw_size > 0 && end > program.len() as u64 {
                return Err(UkiError::Stub("a section reaches over its end"));
            }
        }
        Ok(headers)
    }

    pub(super) fn sections(&self) -> Vec<SectionHeader> {
        let count = usize::from(self.u16(self.coff + 2));
        let header = |index: usize| {
            let at = self.table + index * SECTION_HEADER;
            SectionHeader {
                name: std::array::from_fn(|byte| self.bytes[at + byte]),
                virtual_size: self.u32(at + 8),
                virtual_address: self.u32(at + 12),
                raw_size: self.u32(at + 16),
                raw_offset: self.u32(at + 20),
                characteristics: self.u32(at + 36),
            }
        };
        (0..count).map(header).collect()
    }

    /// Number of section headers that can be added before the first section's bytes begin.
    pub(super) fn room(&self) -> usize {
        let sections = self.sections();
        let first =
            sections.iter().filter(|section| section.raw_size > 0).map(|section| section.raw_offset as usize).min();
        let end = first.unwrap_or(usize::MAX).min(self.bytes.len());
        let most = end.saturating_sub(self.table) / SECTION_HEADER;
        most.min(usize::from(u16::MAX)).saturating_sub(sections.len())
    }

    /// Adds a section header; there has to be [room](Self::room).
    pub(super) fn add(&mut self, section: &SectionHeader) {
        let count = self.u16(self.coff + 2);
        let at = self.table + usize::from(count) * SECTION_HEADER;
        self.bytes[at..at + SECTION_HEADER].fill(0);
        self.put(self.coff + 2, &(count + 1).to_le_bytes());
        self.set(usize::from(count), section);
        // Sums of the sizes of all code and all data; they are informational only.
        let sum = if section.characteristics == CODE { self.optional + 4 } else { self.optional + 8 };
        self.put(sum, &self.u32(sum).saturating_add(section.virtual_size).to_le_bytes());
        let end = section.virtual_address.saturating_add(section.virtual_size);
        let image = end.checked_next_multiple_of(self.section_alignment).unwrap_or(u32::MAX);
        self.put(self.optional + 56, &image.to_le_bytes());
    }

    /// Changes an existing section header.
    pub(super) fn set(&mut self, index: usize, section: &SectionHeader) {
        let at = self.table + index * SECTION_HEADER;
        self.put(at, &section.name);
        self.put(at + 8, &section.virtual_size.to_le_bytes());
        self.put(at + 12, &section.virtual_address.to_le_bytes());
        self.put(at + 16, &section.raw_size.to_le_bytes());
        self.put(at + 20, &section.raw_offset.to_le_bytes());
        self.put(at + 36, &section.characteristics.to_le_bytes());
    }

    /// Whether the program is signed.
    pub(super) fn is_signed(&self) -> bool {
        self.u32(self.optional + 112 + 4 * 8) != 0
    }

    /// Clears the checksum: it is for Windows drivers; EFI ignores it, and 0 means that there is none.
    pub(super) fn clear_checksum(&mut self) {
        self.put(self.optional + 64, &[0; 4]);
    }

    pub(super) fn is_nx_compatible(&self) -> bool {
        self.u16(self.optional + 70) & NX_COMPAT != 0
    }

    /// Clears the flag for a kernel that does not support memory being either writable or executable.
    pub(super) fn clear_nx_compatible(&mut self) {
        let flags = self.u16(self.optional + 70) & !NX_COMPAT;
        self.put(self.optional + 70, &flags.to_le_bytes());
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|index| self.bytes[at + index]))
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }
}
