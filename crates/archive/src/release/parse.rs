//! Parses a Release file whose signature was checked, and refuses one that is out of date.

use super::Signer;
use crate::index::is_safe_path;
use advice::{Advise, Help};
use debian::deb822::{Comments, Error as Deb822Error, Paragraph, Paragraphs};
use jiff::{Timestamp, civil::DateTime, fmt::rfc2822::DateTimeParser, tz::TimeZone};
use sha256::Digest;
use std::{collections::BTreeMap, time::SystemTime};

/// Debian writes obsolete zone names and sometimes one digit for the day; this parser supports both.
/// The day of the week says nothing that the date does not: apt does not read it.
static DATES: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// The other two forms of a date in HTTP (RFC 9110, section 5.6.7), which apt takes too, without the day of the week.
const OTHER_DATES: [&str; 2] = ["%d-%b-%y %H:%M:%S GMT", "%b %d %H:%M:%S %Y"];

/// Seconds by which `Date` may be ahead of the clock, as in apt's `Acquire::Max-FutureTime`.
const FUTURE_SECONDS: i64 = 10;

/// Content of a Release file. Parse verified text only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `Origin`, for example `Debian`.
    pub origin: Option<String>,
    /// `Label`.
    pub label: Option<String>,
    /// `Suite`, for example `unstable`.
    pub suite: Option<String>,
    /// `Codename`, for example `sid`.
    pub codename: Option<String>,
    /// `Date`: time at which it was made.
    pub date: Timestamp,
    /// `Valid-Until`: time by which it must have been replaced.
    pub valid_until: Option<Timestamp>,
    /// `Acquire-By-Hash`: indexes can be fetched by digest, see [`IndexEntry::by_hash`].
    pub acquire_by_hash: bool,
    /// `NotAutomatic`: apt takes nothing from it unless it is asked to.
    pub not_automatic: bool,
    /// `Components`.
    pub components: Vec<String>,
    /// `Architectures`.
    pub architectures: Vec<String>,
    /// `No-Support-for-Architecture-all`: kinds of indexes in which each architecture's index also has the packages of
    /// `all`.
    pub without_architecture_all: Vec<String>,
    /// `SHA256`: the indexes by path.
    pub indexes: BTreeMap<String, IndexEntry>,
    /// Lines of `SHA256` that are not used: not digest, size and path, or a path that leads out of the archive or is not
    /// plain.
    pub unusable: Vec<String>,
}

/// Size and digest of one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Path below the directory of the Release file, for example `main/binary-amd64/Packages.xz`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA256, 64 lower case hexadecimal digits.
    pub sha256: Digest,
}

impl IndexEntry {
    /// Path under which the index stays available while the archive is updated, for archives with `Acquire-By-Hash`.
    pub fn by_hash(&self) -> String {
        let directory = self.path.rsplit_once('/').map_or(String::new(), |(directory, _)| format!("{directory}/"));
        format!("{directory}by-hash/SHA256/{}", self.sha256)
    }
}

/// Policy for `Valid-Until` and `Date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidUntil {
    /// A Release file outside of its validity is an error.
    Check,
    /// No check: for frozen mirrors and snapshots.
    Ignore,
}

/// A Release file that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The text is not deb822.
    #[error("Release file: {0}")]
    Syntax(#[from] Deb822Error),
    /// The text does not have exactly one paragraph.
    #[error("Release file: expected one paragraph, found {found}")]
    Paragraphs {
        /// Number of paragraphs.
        found: usize,
    },
    /// A required field is missing.
    #[error("Release file: no {field}")]
    Missing {
        /// Field name.
        field: &'static str,
    },
    /// A date cannot be parsed.
    #[error("Release file: {field}: {value:?} is not a date: {reason}")]
    Date {
        /// Field name.
        field: &'static str,
        /// Value of the field.
        value: String,
        /// The cause.
        reason: String,
    },
    /// `SHA256` has a path twice, and not with the same digest and size.
    #[error("Release file: SHA256 has {path} twice, with different digests or sizes")]
    Twice {
        /// The duplicate path.
        path: String,
    },
    /// `Valid-Until` is in the past.
    #[error(
        "the Release file of {suite} was valid until {valid_until}, {days} days ago: the mirror is out of date, or holds \
         updates back"
    )]
    Expired {
        /// Suite of the Release file.
        suite: String,
        /// Time of `Valid-Until`.
        valid_until: Timestamp,
        /// Whole days since then.
        days: i64,
    },
    /// The signing key had expired when the file was made.
    #[error(
        "the Release file was made on {date}, and the key of {key} that signed it expired on {expired}: the signature is not as \
         old as it says"
    )]
    KeyExpired {
        /// User id of the key.
        key: String,
        /// Time at which the key expired.
        expired: Timestamp,
        /// `Date` of the file.
        date: Timestamp,
    },
    /// `Date` is in the future.
    #[error("the Release file of {suite} was made on {date}, which is in the future")]
    FromTheFuture {
        /// Suite of the Release file.
        suite: String,
        /// Time of `Date`.
        date: Timestamp,
    },
    /// This machine's clock shows a time outside of the calendar.
    #[error("this machine's clock is out of range")]
    Clock,
}

impl Advise for ReleaseError {
    fn help(&self) -> Help {
        match self {
            Self::Expired { .. } => [
                "use another mirror",
                "where it is frozen on purpose, --ignore-valid-until takes it this once, and check-valid-until = false in \
                 [archive] of the recipe always",
            ]
            .into(),
            Self::KeyExpired { .. } => {
                "a newer keyring may have the key renewed: name it in the recipe's archive.keyrings".into()
            }
            Self::FromTheFuture { .. } | Self::Clock => "check this machine's clock".into(),
            _ => Help::none(),
        }
    }
}

impl Release {
    /// Parses the text of a Release file. As with apt, lines that begin with `#` count for nothing, and what cannot be used
    /// as an index is skipped.
    pub fn parse(text: &[u8]) -> Result<Self, ReleaseError> {
        // Labels of old archives are in other encodings. A path with such a byte is not used.
        let text = String::from_utf8_lossy(text);
        let paragraphs: Vec<_> = Paragraphs::new(&text, Comments::Allowed).collect::<Result<_, _>>()?;
        let [paragraph] = paragraphs.as_slice() else {
            return Err(ReleaseError::Paragraphs { found: paragraphs.len() });
        };
        let string = |field| paragraph.get(field).map(ToOwned::to_owned);
        let words = |field| {
            let words = paragraph.get(field).unwrap_or_default().split_whitespace();
            words.map(ToOwned::to_owned).collect()
        };
        let (indexes, unusable) = entries(paragraph)?;
        Ok(Self {
            origin: string("Origin"),
            label: string("Label"),
            suite: string("Suite"),
            codename: string("Codename"),
            date: date(paragraph, "Date")?.ok_or(ReleaseError::Missing { field: "Date" })?,
            valid_until: date(paragraph, "Valid-Until")?,
            acquire_by_hash: paragraph.get("Acquire-By-Hash").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
            not_automatic: paragraph.get("NotAutomatic").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
            components: words("Components"),
            architectures: words("Architectures"),
            without_architecture_all: words("No-Support-for-Architecture-all"),
            indexes,
            unusable,
        })
    }

    /// Whether packages of architecture `all` have an index of their own (`binary-all`) of a kind such as `Packages`.
    /// False if there is none, or if the other indexes have the same packages.
    pub fn has_index_of_all(&self, kind: &str) -> bool {
        let supported = self.architectures.is_empty() || self.architectures.iter().any(|known| known == "all");
        supported && !self.without_architecture_all.iter().any(|known| known == kind)
    }

    /// Checks that at least one of the signers had a key that was still valid at `Date`.
    ///
    /// The date of a signature is chosen by the signer, and an expired key can still make signatures with an earlier
    /// date. The signed text cannot be older than `Date`: if the key had expired by then, the signature's date is
    /// false. A forger can also choose an early `Date`; `Valid-Until` detects that, as does a comparison with a known
    /// later state of the archive.
    pub fn check_signers(&self, signers: &[Signer]) -> Result<(), ReleaseError> {
        let mut late = None;
        for signer in signers {
            match signer.expires {
                Some(expired) if expired <= self.date => late = Some((signer, expired)),
                _ => return Ok(()),
            }
        }
        match late {
            Some((signer, expired)) => {
                Err(ReleaseError::KeyExpired { key: signer.user_id.clone(), expired, date: self.date })
            }
            None => Ok(()),
        }
    }

    /// Checks that `now` is between `Date` and `Valid-Until`, unless `policy` says to ignore them.
    pub fn check_valid_until(&self, now: SystemTime, policy: ValidUntil) -> Result<(), ReleaseError> {
        if policy == ValidUntil::Ignore {
            return Ok(());
        }
        let now = Timestamp::try_from(now).map_err(|_| ReleaseError::Clock)?;
        let suite =
            || self.codename.clone().or_else(|| self.suite.clone()).unwrap_or_else(|| "this archive".to_owned());
        if self.date.as_second() > now.as_second().saturating_add(FUTURE_SECONDS) {
            return Err(ReleaseError::FromTheFuture { suite: suite(), date: self.date });
        }
        match self.valid_until {
            Some(valid_until) if valid_until < now => {
                let days = now.as_second().saturating_sub(valid_until.as_second()) / 86_400;
                Err(ReleaseError::Expired { suite: suite(), valid_until, days })
            }
            _ => Ok(()),
        }
    }
}

fn date(paragraph: &Paragraph<'_>, field: &'static str) -> Result<Option<Timestamp>, ReleaseError> {
    let Some(value) = paragraph.get(field) else { return Ok(None) };
    let value = with_two_digits(value);
    let error = match DATES.parse_timestamp(&value) {
        Ok(date) => return Ok(Some(date)),
        Err(error) => error,
    };
    other_date(&value).map(Some).ok_or_else(|| ReleaseError::Date {
        field,
        value: value.chars().take(60).collect(),
        reason: error.to_string(),
    })
}

/// A date in one of [`OTHER_DATES`], which are in UTC.
fn other_date(date: &str) -> Option<Timestamp> {
    let (_, date) = date.split_once(' ')?;
    let time = OTHER_DATES.iter().find_map(|form| DateTime::strptime(form, date).ok())?;
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

/// Ubuntu's archive writes a blank for the first digit of an hour before ten: `Sat, 28 Nov 2026  2:51:42 UTC`.
fn with_two_digits(date: &str) -> String {
    let word = |word: &str| match word.split_once(':') {
        Some((hour, rest)) if hour.len() == 1 => format!("0{hour}:{rest}"),
        _ => word.to_owned(),
    };
    date.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// The entries of `SHA256` by path, and the lines that are none.
fn entries(paragraph: &Paragraph<'_>) -> Result<(BTreeMap<String, IndexEntry>, Vec<String>), ReleaseError> {
    let field = paragraph.field("SHA256").ok_or(ReleaseError::Missing { field: "SHA256" })?;
    let mut entries: BTreeMap<String, IndexEntry> = BTreeMap::new();
    let mut unusable = Vec::new();
    for line in field.lines().filter(|line| !line.is_empty()) {
        let Some(entry) = entry(line) else {
            unusable.push(line.chars().take(200).collect());
            continue;
        };
        // Readers would not agree on which of two different ones counts.
        if let Some(known) = entries.get(&entry.path).filter(|known| **known != entry) {
            let IndexEntry { path, .. } = known;
            return Err(ReleaseError::Twice { path: path.clone() });
        }
        entries.insert(entry.path.clone(), entry);
    }
    Ok((entries, unusable))
}

fn entry(line: &str) -> Option<IndexEntry> {
    let mut words = line.split_whitespace();
    let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !is_safe_path(path) {
        return None;
    }
    Some(IndexEntry { path: path.to_owned(), size: size.parse().ok()?, sha256: sha256.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn text(entries: &str) -> String {
        format!(
            "Origin: Debian\nSuite: unstable\nCodename: sid\nDate: Fri, 30 Oct 2026 08:08:01 UTC\n\
             Valid-Until: Fri, 06 Nov 2026 08:08:01 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\n\
             Components: main contrib\nSHA256:\n{entries}"
        )
    }

    #[test]
    fn fields_and_entries() {
        let release =
            Release::parse(text(&format!(" {DIGEST} 12 main/binary-amd64/Packages.xz\n")).as_bytes()).unwrap();
        assert_eq!(release.codename.as_deref(), Some("sid"));
        assert_eq!(release.components, ["main", "contrib"]);
        assert!(release.acquire_by_hash);
        assert_eq!(release.date.to_string(), "2026-10-30T08:08:01Z");
        let entry = &release.indexes["main/binary-amd64/Packages.xz"];
        assert_eq!(entry.size, 12);
        assert_eq!(entry.by_hash(), format!("main/binary-amd64/by-hash/SHA256/{DIGEST}"));
    }

    #[test]
    fn its_time_is_checked() {
        let release = Release::parse(text("").as_bytes()).unwrap();
        let at = |text: &str| SystemTime::from(text.parse::<Timestamp>().unwrap());
        let check = |text, policy| release.check_valid_until(at(text), policy).map_err(|error| error.to_string());
        assert_eq!(check("2026-11-01T00:00:00Z", ValidUntil::Check), Ok(()));
        assert!(check("2026-11-08T12:00:00Z", ValidUntil::Check).unwrap_err().contains("2 days ago"));
        let help = release.check_valid_until(at("2026-11-08T12:00:00Z"), ValidUntil::Check).unwrap_err().help();
        assert!(help.to_string().contains("check-valid-until = false"), "{help}");
        assert_eq!(check("2026-11-08T12:00:00Z", ValidUntil::Ignore), Ok(()));
        assert!(check("2026-10-29T00:00:00Z", ValidUntil::Check).unwrap_err().contains("future"));
        assert_eq!(
            release.check_valid_until(at("2026-10-30T08:07:55Z") + Duration::from_secs(1), ValidUntil::Check),
            Ok(())
        );
    }

    #[test]
    fn hostile_and_odd_entries_are_skipped() {
        for entry in [
            "1 ../etc/passwd",
            "1 /etc/passwd",
            "1 main/../../x",
            "1 main//x",
            "1 a\\b",
            "1 ./x",
            "1",
            "1 a b",
            "-1 a",
            "18446744073709551616 a",
            "1 \u{fffd}",
        ] {
            let release = Release::parse(text(&format!(" {DIGEST} {entry}\n {DIGEST} 2 good\n")).as_bytes()).unwrap();
            assert!(release.indexes.keys().eq(["good"]), "{entry}");
            assert_eq!(release.unusable, [format!("{DIGEST} {entry}")]);
        }
        assert_eq!(Release::parse(text(" abc 1 a\n").as_bytes()).unwrap().unusable, ["abc 1 a"]);
        let twice = |second: u8| Release::parse(text(&format!(" {DIGEST} 1 a\n {DIGEST} {second} a\n")).as_bytes());
        assert_eq!(twice(1).unwrap().indexes.len(), 1);
        assert_eq!(twice(2), Err(ReleaseError::Twice { path: "a".into() }));
    }

    #[test]
    fn what_apt_takes_is_taken() {
        let latin1 = [b"# made by hand\nLabel: J\xfcrgen\n".as_slice(), text("").as_bytes()].concat();
        assert_eq!(Release::parse(&latin1).unwrap().codename.as_deref(), Some("sid"));
        // The last has the wrong day of the week.
        for date in [
            "Fri Oct 30 08:08:01 2026",
            "Sun Nov  6 08:49:37 1994",
            "Friday, 30-Oct-26 08:08:01 GMT",
            "Mon, 30 Oct 2026 08:08:01 UTC",
        ] {
            let release = Release::parse(format!("Date: {date}\nSHA256:\n").as_bytes()).unwrap();
            let expected = if date.ends_with("1994") { "1994-11-06T08:49:37Z" } else { "2026-10-30T08:08:01Z" };
            assert_eq!(release.date.to_string(), expected, "{date}");
        }
    }

    #[test]
    fn dates_are_read_or_refused() {
        let ubuntu = Release::parse(b"Date: Sat, 28 Nov 2026  2:51:42 UTC\nNotAutomatic: yes\nSHA256:\n").unwrap();
        assert_eq!((ubuntu.date.to_string().as_str(), ubuntu.not_automatic), ("2026-11-28T02:51:42Z", true));
        assert!(matches!(Release::parse(b"Date: yesterday\nSHA256:\n"), Err(ReleaseError::Date { .. })));
        assert_eq!(Release::parse(b"Suite: x\nSHA256:\n"), Err(ReleaseError::Missing { field: "Date" }));
    }
}
