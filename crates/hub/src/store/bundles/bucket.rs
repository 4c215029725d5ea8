//! [`Bucket`]: bundles in S3-compatible storage.
//!
//! A bundle is received, checked and recorded on this machine, in `bundles/`. When it has become a result it is put into
//! the bucket in the background, and moves to `bundle-cache/`, which has a limit. So a bucket that is away costs room
//! here and nothing else. What is in `bundles/` is never removed to make room.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use advice::Advise as _;
use protocol::api::{BundleStorage, DirectPart, DirectUpload, PartDigest, Parts};
use s3::{Content, Piece, PresignedParts, PresignedPut, S3Error};
use sha256::Digest;
use tokio::sync::{Notify, Semaphore};

use crate::config::Storage;
use crate::store::bundles::{BundleStore, Directory, OpenError};
use crate::store::disk::free_bytes;

/// Most parts whose addresses are signed at once.
const PARTS: usize = 64;

/// Age at which uploads to the bucket that were not completed are aborted.
const ABANDONED: Duration = Duration::from_secs(7 * 86_400);

/// Downloads at the same time that requests wait for.
const DOWNLOADS: usize = 8;

/// Bundles in a bucket.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "it is a bucket, of the crate's type")]
pub(crate) struct Bucket {
    bucket: s3::Bucket,
    /// Bundles that are not in the bucket yet.
    waiting: Directory,
    /// Copies of bundles that are in the bucket, so that they need not be downloaded.
    cache: Directory,
    cache_root: PathBuf,
    max_cache: u64,
    max_size: u64,
    min_free: u64,
    direct: bool,
    single_limit: u64,
    part_size: u64,
    /// For how long a worker may use an address that the hub has signed. An upload that begins in time may end later.
    offer_time: Duration,
    state: Mutex<State>,
    /// One download of a bundle at a time.
    fetching: Mutex<Vec<(Digest, Arc<Mutex<()>>)>>,
    /// Permits for downloads that requests wait for.
    permits: Arc<Semaphore>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: u64,
    waiting_bytes: u64,
    cached_bytes: u64,
    uploaded: u64,
    /// The reason why uploads fail, with what to do, and since when they do (milliseconds since 1970).
    problem: Option<(String, i64)>,
    /// Bundles whose place in the bucket another object has.
    changed: HashSet<Digest>,
}

/// What came of uploading a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uploaded {
    /// It is in the bucket.
    Stored,
    /// This one cannot be uploaded; others may.
    Skipped,
    /// The bucket is away or refuses: no upload succeeds now.
    Failed,
}

fn key(sha256: &Digest) -> String {
    format!("bundles/{}/{sha256}.tar.zst", sha256.prefix(2))
}

/// A signed address as workers get it.
fn address(signed: PresignedPut) -> DirectUpload {
    DirectUpload { url: signed.url.reveal().to_owned(), headers: signed.headers.into_iter().collect() }
}

impl Bucket {
    /// Whether workers may use the bucket now.
    fn is_offered(&self) -> bool {
        self.direct && !self.with(|state| state.problem.is_some())
    }

    /// Goes on with a worker's upload in parts, whose digests are in order. `None` if that is not offered, or if these are
    /// not the parts of a bundle of this size.
    ///
    /// # Errors
    ///
    /// If the bucket cannot be used now.
    pub(crate) fn parts(&self, sha256: &Digest, size: u64, parts: &[PartDigest]) -> Result<Option<Parts>, S3Error> {
        let places: Vec<_> = s3::places(size, self.part_size).collect();
        if self.offer_parts(size).is_none() || places.len() != parts.len() {
            return Ok(None);
        }
        let piece = |((number, offset, length), part): ((u32, u64, u64), &PartDigest)| Piece {
            number,
            offset,
            length,
            sha256: part.sha256,
            etag: part.md5.to_ascii_lowercase(),
        };
        let pieces: Vec<Piece> = places.into_iter().zip(parts).map(piece).collect();
        let content = Content::new(size, *sha256);
        let signed = self.bucket.presign_parts(&key(sha256), &content, &pieces, self.offer_time, PARTS)?;
        Ok(Some(match signed {
            PresignedParts::Complete => Parts { complete: true, missing: Vec::new() },
            PresignedParts::Missing(parts) => Parts {
                complete: false,
                missing: parts.into_iter().map(|(number, to)| DirectPart { number, to: address(to) }).collect(),
            },
        }))
    }

    /// Bundles in the bucket, with files of this machine below these directories.
    ///
    /// No bundle is longer than `max_size`. Copies of bundles never leave less free than twice `min_free`.
    pub(crate) fn open(
        storage: &Storage,
        waiting: PathBuf,
        cache: PathBuf,
        max_size: u64,
        min_free: u64,
    ) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&cache)?;
        for entry in fs::read_dir(&cache)? {
            let path = entry?.path();
            // Half downloaded when the hub ended.
            if path.is_file() {
                fs::remove_file(&path)?;
            }
        }
        let store = Self {
            bucket: storage.bucket.clone(),
            waiting: Directory::new(waiting),
            cache: Directory::new(cache.clone()),
            cache_root: cache,
            max_cache: storage.max_cache,
            max_size,
            min_free,
            direct: storage.direct,
            single_limit: storage.single_limit,
            part_size: storage.part_size,
            offer_time: storage.offer_time,
            state: Mutex::default(),
            fetching: Mutex::default(),
            permits: Arc::new(Semaphore::new(DOWNLOADS)),
            wake: Notify::new(),
        };
        store.trim()?;
        store.waiting()?;
        Ok(store)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Permits for downloads.
    pub(crate) fn permits(&self) -> Arc<Semaphore> {
        self.permits.clone()
    }

    /// Says that a bundle became a result.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for [`Bucket::wake`].
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Where the storage is and how it is, for people.
    pub(crate) fn status(&self) -> BundleStorage {
        self.with(|state| BundleStorage {
            location: Some(self.bucket.location().to_string()),
            waiting: state.waiting,
            waiting_bytes: state.waiting_bytes,
            uploaded: state.uploaded,
            cached_bytes: state.cached_bytes,
            problem: state.problem.as_ref().map(|(text, _)| text.clone()),
            since: state.problem.as_ref().and_then(|(_, since)| jiff::Timestamp::from_millisecond(*since).ok()),
        })
    }

    /// Bundles that are not in the bucket, the oldest first.
    pub(crate) fn waiting(&self) -> io::Result<Vec<Digest>> {
        let mut all = self.waiting.all()?;
        all.sort_by_key(|(_, _, time)| *time);
        self.with(|state| {
            state.waiting = all.len() as u64;
            state.waiting_bytes = all.iter().map(|(_, size, _)| size).sum();
        });
        Ok(all.into_iter().map(|(sha256, _, _)| sha256).collect())
    }

    /// Puts a bundle of a result into the bucket. `now` is in milliseconds since 1970.
    pub(crate) fn upload(&self, sha256: &Digest, now: i64) -> Uploaded {
        let path = self.waiting.path(sha256);
        let outcome = match fs::metadata(&path) {
            // Removed in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Uploaded::Skipped,
            Err(error) => Err(S3Error::File { path: path.clone(), error }),
            Ok(about) => {
                let content = Content::new(about.len(), *sha256);
                self.bucket.put(&key(sha256), &path, &content).map(|_| about.len())
            }
        };
        let outcome = outcome.and_then(|size| {
            let moved = self.cache.take(&path, sha256).and_then(|()| self.trim_by(size));
            moved.map(|()| size).map_err(|error| S3Error::File { path: path.clone(), error })
        });
        match outcome {
            Ok(size) => {
                tracing::info!(%sha256, size, "a bundle was put into the bucket");
                let ended = self.with(|state| {
                    state.uploaded += 1;
                    state.waiting = state.waiting.saturating_sub(1);
                    state.waiting_bytes = state.waiting_bytes.saturating_sub(size);
                    state.problem.take()
                });
                if ended.is_some() {
                    tracing::warn!(bucket = %self.bucket.location(), "bundles can be put into the bucket again");
                }
                Uploaded::Stored
            }
            // They concern this bundle only, which stays here, where it is read from.
            Err(error @ (S3Error::Changed { .. } | S3Error::FileChanged(_) | S3Error::File { .. })) => {
                if self.with(|state| state.changed.insert(*sha256)) {
                    tracing::error!(%error, help = %error.help(), %sha256, "a bundle cannot be put into the bucket, and stays here");
                }
                Uploaded::Skipped
            }
            Err(error) => {
                let help = error.help();
                let text = if help.is_empty() { error.to_string() } else { format!("{error}: {help}") };
                let is_new = self.with(|state| {
                    let since = state.problem.as_ref().map_or(now, |(_, since)| *since);
                    state.problem.replace((text, since)).is_none()
                });
                if is_new {
                    tracing::error!(%error, %help, "bundles cannot be put into the bucket, and are kept here until they can");
                }
                Uploaded::Failed
            }
        }
    }

    /// Bytes that copies may have if there are so many now: as many as wanted, if the disk has room for them.
    fn limit(&self, bytes: u64) -> io::Result<u64> {
        let room = free_bytes(&self.cache_root)?.saturating_add(bytes);
        Ok(self.max_cache.min(room.saturating_sub(self.min_free.saturating_mul(2))))
    }

    /// Removes cached bundles, those that were not used for the longest time first, until the limit is kept.
    fn trim(&self) -> io::Result<()> {
        let mut all = self.cache.all()?;
        all.sort_by_key(|(_, _, time)| std::cmp::Reverse(*time));
        let limit = self.limit(all.iter().map(|(_, size, _)| size).sum())?;
        let (mut kept, mut bytes) = (0_u64, 0_u64);
        for (sha256, size, _) in all {
            bytes = bytes.saturating_add(size);
            if bytes > limit {
                self.cache.remove(&sha256)?;
            } else {
                kept = bytes;
            }
        }
        self.with(|state| state.cached_bytes = kept);
        Ok(())
    }

    /// Counts a bundle that came into the cache, and makes room if there is too much.
    fn trim_by(&self, size: u64) -> io::Result<()> {
        let bytes = self.with(|state| {
            state.cached_bytes = state.cached_bytes.saturating_add(size);
            state.cached_bytes
        });
        if bytes > self.limit(bytes)? { self.trim() } else { Ok(()) }
    }

    /// Downloads a bundle into the cache, and opens it.
    fn fetch(&self, sha256: &Digest) -> Result<File, OpenError> {
        let turn = {
            let mut all = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|(_, turn)| Arc::strong_count(turn) > 1);
            if let Some((_, turn)) = all.iter().find(|(digest, _)| digest == sha256) {
                turn.clone()
            } else {
                let turn = Arc::default();
                all.push((*sha256, Arc::clone(&turn)));
                turn
            }
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.cache.open(sha256) {
            Err(OpenError::Missing) => {}
            other => return other,
        }
        let key = key(sha256);
        let info = self.bucket.head(&key).map_err(cannot_open)?.ok_or(OpenError::Missing)?;
        if info.size > self.max_size {
            let name = self.bucket.name(&key);
            return Err(OpenError::Changed(format!(
                "the object {name} has {} bytes, more than a bundle may have",
                info.size
            )));
        }
        if free_bytes(&self.cache_root)?.saturating_sub(info.size) < self.min_free {
            self.make_room();
            if free_bytes(&self.cache_root)?.saturating_sub(info.size) < self.min_free {
                return Err(OpenError::Io(io::ErrorKind::StorageFull.into()));
            }
        }
        let content = Content::new(info.size, *sha256);
        let draft = self.cache_root.join(format!("{sha256}.part"));
        self.bucket.download(&key, &content, &draft).map_err(|error| {
            if let S3Error::Changed { .. } = &error {
                tracing::error!(%error, help = %error.help(), %sha256, "a bundle in the bucket is not what was put there");
            }
            cannot_open(error)
        })?;
        // Opened before it gets a name, as a full cache may drop it at once.
        let file = File::open(&draft)?;
        self.cache.take(&draft, sha256)?;
        self.trim_by(content.size)?;
        Ok(file)
    }

    /// Asks the bucket whether it can be used again, if the last upload has failed.
    pub(crate) fn recheck(&self) {
        if self.with(|state| state.problem.is_none()) {
            return;
        }
        if self.bucket.check().is_ok() && self.with(|state| state.problem.take()).is_some() {
            tracing::warn!(bucket = %self.bucket.location(), "bundles can be put into the bucket again");
        }
    }

    /// Deletes a bundle that became no result, and that a worker may have put into the bucket itself.
    pub(crate) fn delete_orphan(&self, sha256: &Digest) -> Result<(), S3Error> {
        if self.direct { self.bucket.delete(&key(sha256)) } else { Ok(()) }
    }

    /// Aborts uploads to the bucket that nobody goes on with.
    pub(crate) fn abort_uploads(&self, now: i64) -> Result<usize, S3Error> {
        let before = jiff::Timestamp::from_millisecond(now).ok().and_then(|now| now.checked_sub(ABANDONED).ok());
        before.map_or(Ok(0), |before| self.bucket.abort_uploads(before))
    }
}

fn cannot_open(error: S3Error) -> OpenError {
    match error {
        S3Error::NoObject { .. } => OpenError::Missing,
        S3Error::Changed { .. } => OpenError::Changed(error.to_string()),
        S3Error::File { error, .. } => OpenError::Io(error),
        other => OpenError::Away(other.to_string()),
    }
}

impl BundleStore for Bucket {
    fn size(&self, sha256: &Digest) -> io::Result<Option<u64>> {
        // In this order: a bundle moves from the one to the other.
        match self.waiting.size(sha256)? {
            None => self.cache.size(sha256),
            found => Ok(found),
        }
    }

    fn renew(&self, sha256: &Digest) -> io::Result<()> {
        match self.waiting.renew(sha256) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.cache.renew(sha256),
            other => other,
        }
    }

    fn remove_older(&self, sha256: &Digest, time: SystemTime) -> io::Result<bool> {
        Ok(self.waiting.remove_older(sha256, time)? | self.cache.remove_older(sha256, time)?)
    }

    fn remove(&self, sha256: &Digest) -> io::Result<()> {
        self.waiting.remove(sha256)?;
        self.cache.remove(sha256)
    }

    fn adopt(&self, file: &Path, sha256: &Digest) -> io::Result<bool> {
        self.waiting.adopt(file, sha256)
    }

    fn open(&self, sha256: &Digest) -> Result<File, OpenError> {
        match self.waiting.open(sha256) {
            Err(OpenError::Missing) => {}
            other => return other,
        }
        match self.cache.open(sha256) {
            Err(OpenError::Missing) => self.fetch(sha256),
            Ok(file) => {
                // The time of use; without it the file is only dropped earlier.
                let _ = self.cache.renew(sha256);
                Ok(file)
            }
            other => other,
        }
    }

    fn make_room(&self) {
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "copies of bundles could not be removed");
        }
    }

    fn offer(&self, sha256: &Digest, size: u64) -> Option<DirectUpload> {
        if !self.is_offered() || size > self.single_limit {
            return None;
        }
        let content = Content::new(size, *sha256);
        Some(address(self.bucket.presign_put(&key(sha256), &content, self.offer_time)))
    }

    fn offer_parts(&self, size: u64) -> Option<u64> {
        if !self.is_offered() || size <= self.single_limit {
            return None;
        }
        s3::places(size, self.part_size).next().map(|(_, _, length)| length)
    }

    fn bucket(&self) -> Option<&Bucket> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3::{Credentials, Location, Options};

    /// A bucket that is away, and one bundle.
    fn away(root: &Path, max_cache: u64) -> (Bucket, Digest) {
        let location = Location::parse("s3+http://127.0.0.1:9/results", |_| None).expect("an address");
        let options = Options { attempts: 1, ..Options::default() };
        let bucket = s3::Bucket::new(location, Credentials::new("id", "s3cret"), &options).expect("a client");
        let storage = Storage { max_cache, ..Storage::new(bucket) };
        fs::create_dir_all(root.join("bundles")).expect("a directory");
        let store = Bucket::open(&storage, root.join("bundles"), root.join("cache"), 1 << 20, 0).expect("a store");
        let draft = root.join("draft");
        fs::write(&draft, b"abc").expect("a file");
        let sha256 = Digest::of(b"abc");
        assert!(store.adopt(&draft, &sha256).expect("it is taken"));
        (store, sha256)
    }

    #[test]
    fn a_bundle_stays_here_while_the_bucket_is_away() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let (store, sha256) = away(temp.path(), 0);
        assert_eq!(store.waiting()?, [sha256]);
        assert_eq!((store.upload(&sha256, 1000), store.upload(&sha256, 2000)), (Uploaded::Failed, Uploaded::Failed));
        let status = store.status();
        assert_eq!((status.waiting, status.waiting_bytes), (1, 3));
        assert_eq!(status.since, jiff::Timestamp::from_millisecond(1000).ok());
        assert!(status.problem.is_some_and(|text| text.contains("does not answer") && !text.contains("s3cret")));
        assert!(store.open(&sha256).is_ok() && store.size(&sha256)? == Some(3));
        assert!(store.offer(&sha256, 3).is_none(), "nobody is sent to a bucket that is away");
        assert!(matches!(store.open(&Digest::of("another")), Err(OpenError::Away(_))));
        Ok(())
    }

    #[test]
    fn the_cache_keeps_its_limit_and_what_was_used_last() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let (store, sha256) = away(temp.path(), 5);
        let old = Digest::of("another");
        fs::write(temp.path().join("old"), b"1234")?;
        store.cache.take(&temp.path().join("old"), &old)?;
        File::options().write(true).open(store.cache.path(&old))?.set_modified(SystemTime::UNIX_EPOCH)?;
        store.cache.take(&store.waiting.path(&sha256), &sha256)?;
        store.trim()?;
        assert_eq!((store.cache.size(&old)?, store.cache.size(&sha256)?), (None, Some(3)));
        assert_eq!(store.status().cached_bytes, 3);
        Ok(())
    }
}
