//! Uploads and downloads that resume after an interruption.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use protocol::api::{
    AskParts, COMPLETE_HEADER, CreateUpload, DirectUpload, OFFSET_HEADER, PartDigest, Parts, ProblemCode, Upload,
};
use s3::{Content, PresignedPut, Put, S3Error};
use safetext::Secret;
use sha256::Digest;
use ureq::http::Method;

use crate::calls::escape;
use crate::error::ClientError;
use crate::http::{Call, Client};

/// Where bundles are uploaded, and where package files of jobs are.
const BUNDLES: &str = "/uploads";
const PACKAGES: &str = "/packages";

/// Bytes per request: the most that is lost when the connection breaks.
const PIECE: u64 = 4 << 20;

/// Number of wrong offsets after which an upload fails: the network is not the reason then.
const MISPLACED: u32 = 16;

/// Turns of an upload in parts in which nothing may be stored.
const SPARE_TURNS: usize = 8;

/// Why a bundle is not in the hub's storage.
enum Failed {
    Storage(S3Error),
    Hub(ClientError),
}

/// An address of the hub's storage.
fn presigned(direct: DirectUpload) -> PresignedPut {
    PresignedPut { url: Secret::new(direct.url), headers: direct.headers.into_iter().collect() }
}

impl Client {
    /// Uploads a bundle, resuming an earlier interrupted attempt, even of another process. Reports as progress how many
    /// bytes the hub has, of how many. Returns the bundle's SHA-256, for completing the lease.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, the hub cannot be reached, or refuses: [`ProblemCode::DiskFull`] if it has no room
    /// now, [`ProblemCode::TooLarge`] if the bundle is too large for it.
    pub fn upload(&self, path: &Path, progress: impl FnMut(u64, u64)) -> Result<Digest, ClientError> {
        self.send(BUNDLES, path, progress)
    }

    /// Uploads a package file for a job that will be added, as [`Client::upload`] does a bundle. Returns its SHA-256. Nothing
    /// is sent if the hub has it already.
    ///
    /// # Errors
    ///
    /// As [`Client::upload`]; [`ProblemCode::QuotaExceeded`] if the hub has too many package files.
    pub fn upload_package(&self, path: &Path, progress: impl FnMut(u64, u64)) -> Result<Digest, ClientError> {
        self.send(PACKAGES, path, progress)
    }

    /// Uploads a file to this part of the API.
    fn send(&self, place: &str, path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Digest, ClientError> {
        let failed = |error| ClientError::File { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(failed)?;
        let (sha256, size) = Digest::of_reader(&mut file).map_err(failed)?;
        let announced = CreateUpload { size, sha256, direct: false };
        let mut upload = self.announce(place, &announced)?;
        let mut misplaced = 0;
        while !upload.complete {
            progress(upload.offset, size);
            file.seek(SeekFrom::Start(upload.offset)).map_err(failed)?;
            let mut piece = Vec::new();
            (&mut file).take(PIECE).read_to_end(&mut piece).map_err(failed)?;
            if piece.is_empty() && upload.offset < size {
                return Err(ClientError::Changed(path.to_owned()));
            }
            match self.append(place, &upload.id, upload.offset, &piece) {
                Ok((offset, complete)) => (upload.offset, upload.complete) = (offset, complete),
                // The piece, or a part of it, has arrived earlier, but the answer was lost.
                Err(error) if error.code() == Some(ProblemCode::WrongOffset) && misplaced < MISPLACED => {
                    misplaced += 1;
                    upload = self.announce(place, &announced)?;
                }
                Err(error) => return Err(error),
            }
        }
        progress(size, size);
        Ok(sha256)
    }

    /// Uploads a bundle to the hub's storage with addresses that the hub has signed, if the hub offers that, and else, or
    /// if the storage refuses, to the hub as [`Client::upload`] does. A large one goes in parts, and an interrupted upload
    /// continues with the parts that are missing, even of another process. Returns the bundle's SHA-256, and whether it is in
    /// the storage: if the hub does not find it there when the lease is completed, it has to be uploaded to the hub.
    ///
    /// # Errors
    ///
    /// As [`Client::upload`].
    pub fn upload_directly(&self, path: &Path) -> Result<(Digest, bool), ClientError> {
        let failed = |error| ClientError::File { path: path.to_owned(), error };
        let (sha256, size) = Digest::of_reader(File::open(path).map_err(failed)?).map_err(failed)?;
        let upload = self.create_upload(&CreateUpload { size, sha256, direct: true })?;
        if upload.complete {
            return Ok((sha256, false));
        }
        let content = Content::new(size, sha256);
        let put = match (upload.direct, upload.part_size) {
            (Some(direct), _) => {
                s3::put_presigned(&self.storage_options(), &presigned(direct), path, &content).map_err(Failed::Storage)
            }
            (None, Some(part_size)) => self.upload_parts(&upload.id, path, &content, part_size).map(|()| Put::Stored),
            (None, None) => return self.upload(path, |_, _| ()).map(|sha256| (sha256, false)),
        };
        match put {
            Ok(_) => return Ok((sha256, true)),
            Err(Failed::Storage(S3Error::File { path, error })) => return Err(ClientError::File { path, error }),
            Err(Failed::Storage(S3Error::FileChanged(path))) => return Err(ClientError::Changed(path)),
            Err(Failed::Storage(error)) => {
                tracing::debug!(%error, "the hub's storage does not take a bundle, which goes to the hub");
            }
            Err(Failed::Hub(error)) => {
                tracing::debug!(%error, "the hub does not go on with a direct upload, so the bundle goes to the hub");
            }
        }
        self.upload(path, |_, _| ()).map(|sha256| (sha256, false))
    }

    /// Puts the parts that are missing, with addresses of the hub, until there are none. An address that has expired is
    /// asked for again.
    fn upload_parts(&self, id: &str, path: &Path, content: &Content, part_size: u64) -> Result<(), Failed> {
        let pieces = s3::pieces(path, content, part_size).map_err(Failed::Storage)?;
        let digest = |piece: &s3::Piece| PartDigest { sha256: piece.sha256, md5: piece.etag.clone() };
        let asked = AskParts { parts: pieces.iter().map(digest).collect() };
        let place = format!("/uploads/{}/parts", escape(id));
        let mut refused = None;
        // Each turn but a few puts a part at least.
        for _ in 0..pieces.len() + SPARE_TURNS {
            let answer: Parts = self.document(Method::POST, &place, Some(&asked)).map_err(Failed::Hub)?;
            if answer.complete {
                return Ok(());
            }
            for part in answer.missing {
                let piece = usize::try_from(part.number).ok().and_then(|number| pieces.get(number.checked_sub(1)?));
                let Some(piece) = piece else { continue };
                let put = s3::put_presigned_part(&self.storage_options(), &presigned(part.to), path, piece);
                match put {
                    Ok(()) => {}
                    // The next answer has new addresses, and goes on.
                    Err(error @ (S3Error::Expired { .. } | S3Error::NoUpload { .. })) => {
                        refused = Some(error);
                        break;
                    }
                    Err(error) => return Err(Failed::Storage(error)),
                }
            }
        }
        let odd = || S3Error::Answer { endpoint: path.display().to_string(), reason: "no part is ever stored".into() };
        Err(Failed::Storage(refused.unwrap_or_else(odd)))
    }

    /// Announces an upload, or finds an earlier one. [`Client::upload`] calls this.
    pub fn create_upload(&self, announced: &CreateUpload) -> Result<Upload, ClientError> {
        self.announce(BUNDLES, announced)
    }

    fn announce(&self, place: &str, announced: &CreateUpload) -> Result<Upload, ClientError> {
        self.document(Method::POST, place, Some(announced))
    }

    /// Appends bytes to an upload. Returns how many the hub has then, and whether the upload is complete with the right
    /// digest. [`Client::upload`] calls this.
    pub fn append_upload(&self, id: &str, offset: u64, bytes: &[u8]) -> Result<(u64, bool), ClientError> {
        self.append(BUNDLES, id, offset, bytes)
    }

    fn append(&self, place: &str, id: &str, offset: u64, bytes: &[u8]) -> Result<(u64, bool), ClientError> {
        let mut call = Call::new(Method::PATCH, format!("{place}/{}", escape(id))).bytes(bytes);
        call.headers.push((OFFSET_HEADER, offset.to_string()));
        self.upload_state(&call)
    }

    /// Number of bytes of an upload that the hub has.
    pub fn upload_offset(&self, id: &str) -> Result<u64, ClientError> {
        self.upload_state(&Call::new(Method::HEAD, format!("/uploads/{}", escape(id)))).map(|(offset, _)| offset)
    }

    /// Downloads a package file of the job of a lease, from this byte on. Returns the number of bytes. The caller checks the
    /// digest.
    ///
    /// # Errors
    ///
    /// If the hub cannot be reached, or does not give the file out under this lease.
    pub fn package(&self, lease: &str, sha256: &Digest, from: u64, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/leases/{}/packages/{sha256}", escape(lease)), from, to)
    }

    /// Downloads a package that the hub keeps, from this byte on. Returns the number of bytes. The caller checks the digest.
    ///
    /// # Errors
    ///
    /// If the hub cannot be reached, or does not keep it, or the client's token is not the admin token.
    pub fn kept_package(&self, sha256: &Digest, from: u64, to: &mut dyn Write) -> Result<u64, ClientError> {
        self.download(&format!("/kept-packages/{sha256}"), from, to)
    }

    fn upload_state(&self, call: &Call) -> Result<(u64, bool), ClientError> {
        let response = self.call(call)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let offset = header(OFFSET_HEADER).and_then(|text| text.parse().ok());
        let odd = || ClientError::NotAHub { url: self.shown(&call.path), reason: "it tells no offset".into() };
        Ok((offset.ok_or_else(odd)?, header(COMPLETE_HEADER) == Some("true")))
    }

    /// Downloads from this byte on, and resumes after interruptions. Returns the number of bytes.
    pub(crate) fn download(&self, path: &str, from: u64, to: &mut dyn Write) -> Result<u64, ClientError> {
        let (mut written, mut idle) = (0_u64, 0_u32);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let mut call = Call::new(Method::GET, path);
            let offset = from.saturating_add(written);
            if offset > 0 {
                call.headers.push(("range", format!("bytes={offset}-")));
            }
            let mut response = match self.call(&call) {
                Ok(response) => response,
                // Everything was downloaded before.
                Err(ClientError::NotAHub { reason, .. }) if offset > 0 && reason == "status 416" => {
                    return Ok(written);
                }
                Err(error) => return Err(error),
            };
            let odd = |reason: String| ClientError::NotAHub { url: self.shown(path), reason };
            if offset > 0 && response.status().as_u16() != 206 {
                return Err(odd("it does not go on where a download was cut".into()));
            }
            let before = written;
            let mut reader = response.body_mut().as_reader();
            let reason = loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return Ok(written),
                    Ok(length) => {
                        to.write_all(buffer.get(..length).unwrap_or_default()).map_err(ClientError::Write)?;
                        written = written.saturating_add(length as u64);
                    }
                    Err(error) => break error.to_string(),
                }
            };
            // Attempts are unlimited while each of them makes progress.
            idle = if written > before { 0 } else { idle + 1 };
            if idle > 3 {
                return Err(odd(reason));
            }
        }
    }
}
