//! Reads, checks and edits `rocbed.toml` and `jobs.toml` on the EFI system partition. Comments and order in the files
//! are kept.

use std::fmt;
use std::fs::File;

use advice::{Advise, Help};
use diskimage::fat::{self, EditError, ReadError, Volume};
use diskimage::gpt::{self, GptError, types};
use fsimage::Timestamp;
use protocol::settings::{self, SettingError, SettingSource, ValueKind};
use protocol::{Job, JobList, ListError, SignedBy, Source};
use toml_edit::{Array, DocumentMut, Item, Value};

/// The name of the settings file on the partition.
pub const SETTINGS: &str = "rocbed.toml";

/// The name of the job list on the partition.
pub const JOBS: &str = "jobs.toml";

/// The most bytes of a file that are read.
const MOST: u64 = 1 << 20;

/// The reason why settings cannot be read or changed. Existing files are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The partition table cannot be read.
    #[error("there is no image of rocbed's: {0}")]
    Table(#[from] GptError),
    /// There is no EFI system partition of ours.
    #[error(
        "there is no EFI system partition named rocbed-esp: this was not written by `rocbed flash` or `rocbed build`"
    )]
    NoPartition,
    /// Its files cannot be read.
    #[error("reading the EFI system partition")]
    Read(#[from] ReadError),
    /// A file cannot be changed.
    #[error("writing {name} on the EFI system partition")]
    Write {
        /// The file.
        name: &'static str,
        /// What failed.
        source: EditError,
    },
    /// The file is too large.
    #[error("{0} on the EFI system partition has over 1 MiB; it is not a list of settings")]
    TooLarge(&'static str),
    /// The file is not valid TOML.
    #[error("{SETTINGS} on the EFI system partition is not valid TOML: {0}")]
    Toml(String),
    /// The setting does not exist, or does not accept the value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The job list is not valid.
    #[error("the job list cannot be used: {0}")]
    Jobs(ListError),
    /// The job list is larger than an appliance reads.
    #[error("the job list cannot be used: it has over 1 MiB")]
    JobsTooLarge,
    /// A job of the list needs a source tree or another file of this machine.
    #[error("the job list cannot be used: job {job} needs {path}, which is not on the stick")]
    Tree {
        /// Id of the job.
        job: String,
        /// Path of the tree or file.
        path: String,
    },
}

impl Advise for SettingsError {
    fn help(&self) -> Help {
        match self {
            Self::Table(_) => "`rocbed flash` writes one".into(),
            Self::Setting(error) => error.help(),
            Self::Jobs(error) => error.help(),
            Self::Toml(_) => "the appliance uses none of it; mend it with an editor, or remove it".into(),
            Self::Tree { .. } => {
                "make it a package of the archive, or the address of a .tar, a .dsc or a git repository, with packages of an apt \
                 source; or copy the file to the stick beside jobs.toml yourself"
                    .into()
            }
            _ => Help::none(),
        }
    }
}

/// The EFI system partition of a disk.
#[derive(Debug)]
pub struct Esp<'a> {
    disk: &'a File,
    offset: u64,
    /// The offset of its end on the disk.
    end: u64,
}

impl<'a> Esp<'a> {
    /// Finds the partition on a disk or disk image.
    ///
    /// # Errors
    /// [`SettingsError::Table`] and [`SettingsError::NoPartition`].
    pub fn find(disk: &'a File) -> Result<Self, SettingsError> {
        let table = gpt::read(&mut &*disk)?;
        let ours = |part: &gpt::Partition| part.type_guid == types::ESP && part.name == "rocbed-esp";
        let esp = table.partitions.into_iter().map(|(_, part)| part).find(ours).ok_or(SettingsError::NoPartition)?;
        Ok(Self { disk, offset: esp.start, end: esp.start + esp.size })
    }

    /// The offset of the partition's end on the disk.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The same partition in another file with the same start as the disk.
    pub fn on<'b>(&self, disk: &'b File) -> Esp<'b> {
        Esp { disk, offset: self.offset, end: self.end }
    }

    /// Reads a file in its top directory, if it exists.
    ///
    /// # Errors
    /// [`SettingsError::Read`] and [`SettingsError::TooLarge`].
    pub fn read(&self, name: &'static str) -> Result<Option<Vec<u8>>, SettingsError> {
        let mut volume = Volume::open(self.disk, self.offset)?;
        let entries = volume.list()?;
        match entries.iter().find(|entry| !entry.is_directory && entry.path.eq_ignore_ascii_case(name)) {
            Some(entry) if entry.size > MOST => Err(SettingsError::TooLarge(name)),
            Some(entry) => Ok(Some(volume.read(&entry.path)?)),
            None => Ok(None),
        }
    }

    /// Writes a file in its top directory; after a power cut there is the old one or the new one.
    ///
    /// # Errors
    /// [`SettingsError::Write`].
    pub fn write(&self, name: &'static str, bytes: &[u8], now: i64) -> Result<(), SettingsError> {
        let put = fat::put(self.disk, self.offset, name, bytes, Timestamp::from_seconds(now));
        put.map_err(|source| SettingsError::Write { name, source })
    }
}

/// The parsed `rocbed.toml`, which can be edited.
#[derive(Clone, Default)]
pub struct StickSettings(DocumentMut);

/// Without the values, which may be secrets.
impl fmt::Debug for StickSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl StickSettings {
    /// Parses a file that people may have edited. A byte order mark, which some editors write, is dropped.
    ///
    /// # Errors
    /// [`SettingsError::Toml`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SettingsError> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        text.parse().map(Self).map_err(|error: toml_edit::TomlError| SettingsError::Toml(error.message().to_owned()))
    }

    /// The file's text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// Names and values, in the file's order; the words of a list are separated by commas. Values may be secrets.
    pub fn list(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, item)| (name.to_owned(), joined(item))).collect()
    }

    /// Names and values as screens and logs may show them: without tokens, keys and passwords.
    pub fn shown(&self) -> Vec<(String, String)> {
        let hidden = |(name, value): (String, String)| {
            let value = settings::shown(&name, &value).into_owned();
            (name, value)
        };
        self.list().into_iter().map(hidden).collect()
    }

    /// Problems for which the appliance would reject settings, in words.
    pub fn problems(&self) -> Vec<String> {
        let checked = self.list().into_iter().map(|(name, value)| settings::check(&name, &value, SettingSource::Stick));
        checked.filter_map(Result::err).map(|error| error.to_string()).collect()
    }

    /// Sets a setting.
    ///
    /// # Errors
    /// [`SettingError`], if the appliance would not accept it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let setting = settings::check(name, value, SettingSource::Stick)?;
        let name = setting.name;
        let new: Value = match setting.kind {
            ValueKind::Count => value.parse::<i64>().map_or_else(|_| value.into(), Value::from),
            ValueKind::Bool => settings::parse_bool(value).unwrap_or(true).into(),
            kind if kind.has_commas() && value.contains(',') => settings::list(value).collect::<Array>().into(),
            _ => value.into(),
        };
        // Of several spellings the appliance would use one or the other.
        let mut spelled = self.spelled(name).into_iter();
        let key = spelled.next().unwrap_or_else(|| name.to_owned());
        spelled.for_each(|other| drop(self.0.remove(&other)));
        match self.0.get_mut(&key).and_then(Item::as_value_mut) {
            Some(old) => {
                // Keeps the comment at the end of its line.
                let decor = old.decor().clone();
                *old = new;
                *old.decor_mut() = decor;
            }
            None => self.0[&key] = Item::Value(new),
        }
        Ok(())
    }

    /// Removes a setting. Returns whether it was there.
    ///
    /// # Errors
    /// [`SettingError`], if there is no such setting, neither in the file nor at all.
    pub fn unset(&mut self, name: &str) -> Result<bool, SettingError> {
        let name = name.replace('_', "-");
        let spelled = self.spelled(&name);
        if spelled.is_empty() {
            return settings::find(&name, SettingSource::Stick).map(|_| false);
        }
        for key in &spelled {
            drop(self.0.remove(key));
        }
        Ok(true)
    }

    /// The setting's spellings in the file: people may write `_` for `-`.
    fn spelled(&self, name: &str) -> Vec<String> {
        self.0.iter().map(|(key, _)| key.to_owned()).filter(|key| key.replace('_', "-") == name).collect()
    }
}

fn joined(item: &Item) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string().trim().to_owned(), str::to_owned);
    match item {
        Item::Value(Value::Array(array)) => array.iter().map(word).collect::<Vec<_>>().join(","),
        Item::Value(value) => word(value),
        _ => "a table".to_owned(),
    }
}

/// Checks a job list (TOML or JSON) for a stick. Returns the number of jobs.
///
/// # Errors
/// [`SettingsError::Jobs`] or [`SettingsError::JobsTooLarge`] if the appliance would not accept it, [`SettingsError::Tree`] for a job that cannot run from
/// a stick.
pub fn check_jobs(bytes: &[u8]) -> Result<usize, SettingsError> {
    if bytes.len() as u64 > MOST {
        return Err(SettingsError::JobsTooLarge);
    }
    let list = JobList::parse_without_hub(bytes).map_err(SettingsError::Jobs)?;
    let needed = list.job.iter().find_map(|job| Some((job, file_of(job)?)));
    match needed {
        Some((job, path)) => Err(SettingsError::Tree { job: job.id.clone(), path }),
        None => Ok(list.job.len()),
    }
}

/// A file or directory beside the list that a job needs.
fn file_of(job: &Job) -> Option<String> {
    if let Source::Path(path) = &job.source {
        return Some(path.clone());
    }
    let keys = job.apt_sources.iter().filter_map(|source| match &source.signed_by {
        SignedBy::KeyFile(path) => Some(path),
        _ => None,
    });
    job.packages.iter().map(|file| &file.path).chain(keys).next().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn jobs_in_parts_are_not_for_a_stick() {
        let list = b"[[job]]\npackage = \"rocfft\"\nshards = 2\n";
        let error = check_jobs(list).unwrap_err();
        assert!(matches!(error, SettingsError::Jobs(protocol::ListError::Shards { shards: 2, .. })), "{error:?}");
    }

    #[test]
    fn editing_keeps_comments_and_order() {
        let text = "# the lab's stick\nhub = \"http://old\" # moves in May\n\nname = \"a\"\n";
        let mut settings = StickSettings::parse(text.as_bytes()).unwrap();
        settings.set("hub", "https://new").unwrap();
        settings.set("set_clock", "no").unwrap();
        settings.set("ntp", "a,b").unwrap();
        assert!(settings.unset("name").unwrap() && !settings.unset("mirror").unwrap());
        let expected =
            "# the lab's stick\nhub = \"https://new\" # moves in May\nset-clock = false\nntp = [\"a\", \"b\"]\n";
        assert_eq!(settings.text(), expected);
        assert_eq!(settings.list()[2], ("ntp".into(), "a,b".into()));
    }

    #[test]
    fn a_setting_is_there_once_however_people_write_it() {
        let mut settings =
            StickSettings::parse(b"set_clock = true # for now\nset-clock = true\njoin_token = \"a\"\n").unwrap();
        settings.set("set-clock", "no").unwrap();
        assert_eq!(settings.text(), "set_clock = false # for now\njoin_token = \"a\"\n");
        assert!(settings.unset("join-token").unwrap());
        assert_eq!(settings.list().len(), 1);
    }

    #[test]
    fn secrets_are_kept_and_not_shown() {
        let text =
            "hub = \"https://hub\"\njoin_token = \"join-1\"\ndebci = \"amqps://me:pw@ci/v\"\nstorage-key = \"k9\"\n";
        let settings = StickSettings::parse(text.as_bytes()).unwrap();
        assert_eq!(settings.text(), text);
        let said = format!("{:?} {settings:?}", settings.shown());
        assert!(["https://hub", "(not shown)@ci/v"].iter().all(|part| said.contains(part)), "{said}");
        assert!(!["join-1", "pw@", "k9"].iter().any(|secret| said.contains(secret)), "{said}");
    }

    #[test]
    fn what_the_appliance_would_not_take_is_not_written() {
        let mut settings = StickSettings::default();
        let mut told = |name, value| advice::Advice::of(&settings.set(name, value).unwrap_err()).in_one_line();
        assert!(told("hubb", "x").contains("did you mean `hub`?"));
        assert!(told("hub", "hub.example").contains("`hub.example` is not an address"));
        assert!(told("name", "two words").contains("letters, digits and -"));
        assert!(told("debug-shell", "yes").contains("only a recipe"));
        assert!(told("watchdog", "soon").contains("watchdog"));
        assert!(told("gpu", "radeon").contains("`radeon` is not a GPU target"));
        assert!(told("hub-ca", "ca.pem").contains("absolute path"));
        let token = told("join-token", "abc def");
        assert!(token.contains("blanks") && !token.contains("abc"), "{token}");
        assert!(settings.unset("nme").is_err());
        assert_eq!(settings.text(), "");
        let problems = StickSettings::parse(b"hubb = 1\n[x]\n").unwrap().problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn job_lists_are_checked() {
        assert_eq!(check_jobs(b"[[job]]\npackage = \"gzip\"\n").unwrap(), 1);
        let error = check_jobs(b"[[job]]\npath = \"../tree\"\n").unwrap_err().to_string();
        assert!(error.contains("../tree"), "{error}");
        assert!(check_jobs(b"[[job]\n").is_err());
    }

    proptest! {
        #[test]
        fn any_file_is_read(text in "([a-z-]{1,9} = (\"[^\"]{0,9}\"|[0-9]{1,3}|\\[\"a\", 1\\])\n|\\[x\\]\n|#.*\n|.){0,9}") {
            if let Ok(settings) = StickSettings::parse(text.as_bytes()) {
                settings.problems();
                // Except for control characters, unedited text is not changed.
                let again = StickSettings::parse(settings.text().as_bytes()).unwrap();
                prop_assert_eq!(again.text(), settings.text());
            }
        }
    }
}
