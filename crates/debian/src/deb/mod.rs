//! Reads binary packages (deb(5)): the container, control information, and the tar of files.
//!
//! All input is untrusted: a file's digest is known only after all of it was read. Entry points for fuzzing: [`parse`]
//! and [`Paragraph::parse`].

mod ar;
mod check;
mod control;
mod data;
mod error;
#[cfg(feature = "fixtures")]
pub mod fixtures;
mod limits;

use std::io::{Cursor, Read, Seek, SeekFrom};

use tarball::Reader;
pub use tarball::{Entry, EntryKind, Time};

use crate::compression::Compression;
use crate::version::Version;

pub use ar::{Member, members};
pub use control::Paragraph;
pub use data::DataReader;
pub use error::DebError;

/// A file of the control archive: a maintainer script, `md5sums`, `conffiles`, ...
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// File name, without directory.
    pub name: String,
    /// Permission bits.
    pub mode: u16,
    /// Modification time.
    pub mtime: Time,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A package's control information, and the position of its data archive.
#[derive(Debug, Clone)]
pub struct Deb {
    /// Control fields.
    pub control: Paragraph,
    /// All files of the control archive but `control` itself, in their order.
    pub files: Vec<ControlFile>,
    data: Member,
    compression: Compression,
}

impl Deb {
    /// Reads everything but the data archive.
    pub fn read(file: &mut (impl Read + Seek + Send)) -> Result<Self, DebError> {
        let all = members(file)?;
        let mut members = all.into_iter();
        let version = members.next().filter(|member| member.name == "debian-binary");
        let version = version.ok_or_else(|| DebError::Container("its first member is not debian-binary".into()))?;
        check_version(&mut open(file, &version)?)?;

        // Members that begin with an underscore may be between the others (deb(5)).
        let mut members = members.filter(|member| !member.name.starts_with('_'));
        let control = members.next().unwrap_or(Member { name: String::new(), offset: 0, size: 0 });
        let compression = compression_of(&control.name, "control.tar")
            .ok_or_else(|| DebError::Container("its second member is not control.tar".into()))??;
        let (paragraph, files) =
            read_control(compression.decoder(open(file, &control)?).map_err(DebError::read(&control.name))?)?;

        let data = members.next().unwrap_or(Member { name: String::new(), offset: 0, size: 0 });
        let compression = compression_of(&data.name, "data.tar")
            .ok_or_else(|| DebError::Container("its third member is not data.tar".into()))??;
        let deb = Self { control: paragraph, files, data, compression };
        deb.check_identity()?;
        check::check(&deb.control)?;
        Ok(deb)
    }

    /// Reads the data archive, from the same file as [`Deb::read`].
    pub fn data<'a>(
        &self,
        mut file: impl Read + Seek + Send + 'a,
    ) -> Result<DataReader<Box<dyn Read + Send + 'a>>, DebError> {
        file.seek(SeekFrom::Start(self.data.offset)).map_err(DebError::read("the data archive"))?;
        self.data_from(file)
    }

    /// Reads the data archive from a reader that is at [`Self::data_offset`]. Fails if it is larger than allowed for
    /// this Installed-Size.
    pub fn data_from<'a>(
        &self,
        reader: impl Read + Send + 'a,
    ) -> Result<DataReader<Box<dyn Read + Send + 'a>>, DebError> {
        let decoder = self.compression.decoder(reader.take(self.data.size));
        let decoder = decoder.map_err(DebError::read(&self.data.name))?;
        Ok(DataReader::new(decoder, self.installed_size()))
    }

    /// `Installed-Size` of the package in KiB.
    pub fn installed_size(&self) -> Option<u64> {
        self.control.get("Installed-Size").and_then(crate::size::installed_size)
    }

    /// Offset of the data archive in the file, in bytes.
    pub fn data_offset(&self) -> u64 {
        self.data.offset
    }

    /// Compressed length of the data archive in bytes: what unpacking reads.
    pub fn data_size(&self) -> u64 {
        self.data.size
    }

    /// Package name.
    pub fn name(&self) -> &str {
        self.control.get("Package").unwrap_or_default()
    }

    /// Package version.
    pub fn version(&self) -> &str {
        self.control.get("Version").unwrap_or_default()
    }

    /// Package architecture; `all` for any.
    pub fn architecture(&self) -> &str {
        self.control.get("Architecture").unwrap_or_default()
    }

    /// Whether it can be installed for several architectures at once.
    pub fn is_multi_arch_same(&self) -> bool {
        self.control.get("Multi-Arch") == Some("same")
    }

    /// Name with architecture if dpkg uses it so to be unambiguous: `libc6:amd64`, but `bash`.
    pub fn qualified_name(&self) -> String {
        if self.is_multi_arch_same() {
            format!("{}:{}", self.name(), self.architecture())
        } else {
            self.name().to_owned()
        }
    }

    /// A file of the control archive.
    pub fn file(&self, name: &str) -> Option<&ControlFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The conffiles (deb-conffiles(5)): absolute paths and their flag, which most do not have.
    pub fn conffiles(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let bytes = self.file("conffiles").map_or(&[][..], |file| &file.bytes);
        bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).map(
            |line| match line.iter().position(|byte| *byte == b' ') {
                Some(space) if line[0] != b'/' => (&line[space + 1..], Some(&line[..space])),
                _ => (line, None),
            },
        )
    }

    /// Checks name, version and architecture, which become file names and lines of dpkg's database.
    fn check_identity(&self) -> Result<(), DebError> {
        let plain = |text: &str, also: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.chars().all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter))
        };
        for (field, value, also) in [
            ("Package", self.name(), "+-._"),
            ("Version", self.version(), "+-.~:"),
            ("Architecture", self.architecture(), "-"),
        ] {
            if !plain(value, also) {
                return Err(DebError::Control(format!("{value:?} cannot be a value of {field}")));
            }
        }
        // dpkg only warns of another one, and other programs that read its database stop there.
        let version = Version::parse(self.version()).map_err(|error| DebError::Control(error.to_string()))?;
        if !version.upstream().starts_with(|first: char| first.is_ascii_digit()) {
            let why = format!("the version {:?} does not begin with a digit", self.version());
            return Err(DebError::Control(why));
        }
        Ok(())
    }
}

/// Reads a whole .deb from memory, including file contents, and returns its control information: for fuzzing and
/// tests.
pub fn parse(bytes: &[u8]) -> Result<Deb, DebError> {
    let deb = Deb::read(&mut Cursor::new(bytes))?;
    let mut data = deb.data(Cursor::new(bytes))?;
    while data.next_entry()?.is_some() {}
    Ok(deb)
}

/// Compression of a member called `stem` plus an extension; `None` if its name does not begin with `stem`.
fn compression_of(name: &str, stem: &str) -> Option<Result<Compression, DebError>> {
    let extension = name.strip_prefix(stem)?;
    Some(Compression::of_extension(extension).ok_or_else(|| DebError::Compression(name.to_owned())))
}

fn open<'a, R: Read + Seek>(file: &'a mut R, member: &Member) -> Result<std::io::Take<&'a mut R>, DebError> {
    file.seek(SeekFrom::Start(member.offset)).map_err(DebError::read(&member.name))?;
    Ok(file.take(member.size))
}

fn check_version(member: &mut impl Read) -> Result<(), DebError> {
    let mut text = String::new();
    member.take(64).read_to_string(&mut text).map_err(DebError::read("debian-binary"))?;
    match text.lines().next() {
        Some(version) if version.starts_with("2.") => Ok(()),
        version => Err(DebError::Version(version.unwrap_or_default().to_owned())),
    }
}

fn read_control(decoder: impl Read) -> Result<(Paragraph, Vec<ControlFile>), DebError> {
    let mut archive = Reader::new(decoder, limits::CONTROL_RULES);
    let mut paragraph = None;
    let mut files: Vec<ControlFile> = Vec::new();
    while let Some(entry) = archive.next_entry().map_err(DebError::tar)? {
        if entry.kind == EntryKind::Directory && entry.path.is_empty() {
            continue;
        }
        let name = String::from_utf8(entry.path).ok().filter(|name| !name.contains('/'));
        let (Some(name), EntryKind::File) = (name, entry.kind) else {
            return Err(DebError::Tar("the control archive has more than plain files in it".into()));
        };
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).map_err(DebError::read("the control archive"))?;
        if name == "control" {
            // dpkg takes maintainers' names in any encoding. Where it matters nothing but ASCII is taken.
            paragraph = Some(Paragraph::parse(&String::from_utf8_lossy(&bytes))?);
        } else if files.iter().any(|file| file.name == name) {
            return Err(DebError::Tar(format!("the control archive has {name:?} twice")));
        } else {
            files.push(ControlFile { name, mode: entry.mode, mtime: entry.mtime, bytes });
        }
    }
    let paragraph = paragraph.ok_or_else(|| DebError::Control("there is none".into()))?;
    Ok((paragraph, files))
}
