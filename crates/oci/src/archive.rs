//! [`Image`]: an image layout in a tar archive (image specification, `image-layout.md`), as `podman load` and skopeo's
//! `oci-archive:` take it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use serde::Serialize;
use tar::{Builder, EntryType, Header};

use crate::config::{Config, Descriptor, Document, History, Index, Manifest, RootFs, time};
use crate::{Digest, Error, Layer};

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Annotation of `index.json` with the image's name (`annotations.md`).
const NAME: &str = "org.opencontainers.image.ref.name";

/// An image for amd64.
#[derive(Debug)]
pub struct Image {
    /// Name and tag: `rocbed-hub:0.1.0`.
    pub name: String,
    /// How a container is started.
    pub config: Config,
    /// Layers, the lowest first.
    pub layers: Vec<Layer>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

impl Image {
    /// Writes the archive; returns the digest of the manifest, by which registries know the image.
    ///
    /// # Errors
    ///
    /// If writing fails, or the time is not one that an image can have.
    pub fn write(&self, to: impl Write) -> Result<Digest, Error> {
        let created = time(self.created)?;
        let history = self.layers.iter().map(|layer| History { created: &created, created_by: &layer.what });
        let config = json(&Document {
            created: &created,
            architecture: "amd64",
            os: "linux",
            config: &self.config,
            rootfs: RootFs { kind: "layers", diff_ids: self.layers.iter().map(|layer| &layer.diff_id).collect() },
            history: history.collect(),
        })?;
        let config_digest = Digest::of(&config);
        let layers = self.layers.iter().map(|layer| descriptor(LAYER_TYPE, &layer.digest, layer.size));
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config: descriptor(CONFIG_TYPE, &config_digest, config.len() as u64),
            layers: layers.collect(),
        })?;
        let manifest_digest = Digest::of(&manifest);
        let mut listed = descriptor(MANIFEST_TYPE, &manifest_digest, manifest.len() as u64);
        listed.annotations = BTreeMap::from([(NAME, self.name.as_str())]);
        let index = json(&Index { schema_version: 2, media_type: INDEX_TYPE, manifests: [listed] })?;

        let mut files = Files { tar: Builder::new(to), time: self.created.unsigned_abs() };
        files.add("oci-layout", LAYOUT.len() as u64, LAYOUT.as_bytes())?;
        files.add("index.json", index.len() as u64, index.as_slice())?;
        files.directory("blobs/")?;
        files.directory("blobs/sha256/")?;
        for (digest, blob) in [(&manifest_digest, &manifest), (&config_digest, &config)] {
            files.add(&path(digest), blob.len() as u64, blob.as_slice())?;
        }
        let mut written = BTreeSet::new();
        for layer in self.layers.iter().filter(|layer| written.insert(&layer.digest)) {
            files.add(&path(&layer.digest), layer.size, At { file: &layer.file, offset: 0 })?;
        }
        files.tar.into_inner().and_then(|mut to| to.flush()).map_err(Error::writing("the image"))?;
        Ok(manifest_digest)
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn descriptor<'a>(media_type: &'static str, digest: &'a Digest, size: u64) -> Descriptor<'a> {
    Descriptor { media_type, digest, size, annotations: BTreeMap::new() }
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(|error| Error::Write { what: "JSON", source: error.into() })
}

/// Reads a file from its start, wherever others are in it.
struct At<'a> {
    file: &'a std::fs::File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

struct Files<W: Write> {
    tar: Builder<W>,
    time: u64,
}

impl<W: Write> Files<W> {
    fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.entry(EntryType::Directory, 0o755, path, 0, std::io::empty())
    }

    fn add(&mut self, path: &str, size: u64, content: impl Read) -> Result<(), Error> {
        self.entry(EntryType::Regular, 0o644, path, size, content)
    }

    fn entry(&mut self, kind: EntryType, mode: u32, path: &str, size: u64, content: impl Read) -> Result<(), Error> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(size);
        self.tar.append_data(&mut header, path, content).map_err(Error::writing("the image"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flate2::Compression;
    use fsimage::{FileTree, Metadata, Node, NodeKind, Timestamp};
    use serde_json::Value;

    use super::*;

    const TIME: i64 = 1_790_000_000;

    fn layer(text: &str) -> Layer {
        let metadata = Metadata::root(0o755, Timestamp::from_seconds(TIME));
        let mut tree = FileTree::new(metadata.clone());
        tree.insert("file", Node { kind: NodeKind::File(text.into()), metadata }).unwrap();
        Layer::write(&tree, text, Compression::fast(), &std::env::temp_dir()).unwrap()
    }

    fn image() -> Image {
        let config = r#"{"User": "8420", "ExposedPorts": {"8420/tcp": {}}, "Entrypoint": ["/usr/bin/rocbed", "hub"]}"#;
        let config = serde_json::from_str(config).unwrap();
        Image { name: "rocbed-hub:0.1.0".into(), config, layers: vec![layer("base"), layer("rocbed")], created: TIME }
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn every_blob_is_what_its_descriptor_says() {
        let mut archive = Vec::new();
        let digest = image().write(&mut archive).unwrap();
        let files = files(&archive);
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let bytes = &files[&format!("blobs/sha256/{}", &digest["sha256:".len()..])];
            assert_eq!(Digest::of(bytes).to_string(), digest);
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let listed = &index["manifests"][0];
        assert_eq!(listed["digest"], digest.to_string());
        assert_eq!(listed["annotations"][NAME], "rocbed-hub:0.1.0");
        let manifest: Value = serde_json::from_slice(blob(listed)).unwrap();
        let config: Value = serde_json::from_slice(blob(&manifest["config"])).unwrap();
        assert_eq!(config["created"], "2026-09-21T14:13:20Z");
        assert_eq!(config["config"]["User"], "8420");
        let layers = manifest["layers"].as_array().unwrap();
        for (at, layer) in layers.iter().enumerate() {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(blob(layer).as_slice()).read_to_end(&mut plain).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][at], Digest::of(&plain).to_string());
            assert_eq!(config["history"][at]["created_by"], ["base", "rocbed"][at]);
        }
        assert_eq!(files.len(), 2 + 2 + 4, "{:?}", files.keys());
    }

    #[test]
    fn one_image_gives_the_same_bytes() {
        let written = || {
            let mut archive = Vec::new();
            image().write(&mut archive).unwrap();
            archive
        };
        assert_eq!(written(), written());
    }

    #[test]
    fn settings_that_are_not_known_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"Users": "8420"}"#).is_err());
    }
}
