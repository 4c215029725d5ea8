//! `manifest.json`: the contents of an image, as an SPDX 2.3 document.
//!
//! The image files and the Debian packages are SPDX packages with SHA-256 checksums; the root file system contains the
//! installed packages. Nothing in it depends on when or where it was written.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha256::Digest;

use crate::lock::{Lock, LockedPackage, Role};

/// Name, size and digest of an image file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImageFile {
    /// Name in the image directory.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub sha256: Digest,
}

/// Writes the document. `name` is the recipe's name; `init` is rocbed-init, the only program in the image that does
/// not come from a package.
pub fn document(name: &str, lock: &Lock, init: &[u8], files: &[ImageFile]) -> String {
    let created = Timestamp::from_second(lock.date()).unwrap_or_default();
    let namespace = format!("urn:rocbed:{}:{}", percent_encoded(name), identity(files));
    let packages = files.iter().map(image_file).chain([rocbed_init(init)]).chain(lock.packages.iter().map(package));
    let describes = files.iter().map(|file| relation("SPDXRef-DOCUMENT", "DESCRIBES", &file_id(&file.name)));
    let contains = lock.packages.iter().map(|package| match package.role {
        Role::Root => relation(&file_id("root.img"), "CONTAINS", &package_id(package)),
        Role::Build => relation(&file_id("uki.efi"), "GENERATED_FROM", &package_id(package)),
        Role::Esp => relation(&file_id("disk.img"), "GENERATED_FROM", &package_id(package)),
    });
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": namespace,
        "creationInfo": {
            "created": created.to_string(),
            "creators": [format!("Tool: rocbed-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages.collect::<Vec<_>>(),
        "relationships": describes
            .chain([relation(&file_id("initrd.img"), "CONTAINS", INIT_ID)])
            .chain(contains)
            .collect::<Vec<_>>(),
    });
    text_of(&document)
}

/// Updates the document of an image of which some files have changed. `files` are all files that it describes, as they
/// are now.
///
/// # Errors
/// If `text` is not such a document.
pub fn renewed(text: &[u8], files: &[ImageFile]) -> Result<String> {
    let mut document: Value = serde_json::from_slice(text).context("it is not JSON")?;
    let namespace = document.get("documentNamespace").and_then(Value::as_str).and_then(|text| text.rsplit_once(':'));
    let (start, _) = namespace.context("it has no documentNamespace")?;
    let namespace = format!("{start}:{}", identity(files));
    document["documentNamespace"] = namespace.into();
    let packages = document.get_mut("packages").and_then(Value::as_array_mut).context("it has no packages")?;
    for file in files {
        let id = file_id(&file.name);
        if let Some(package) = packages.iter_mut().find(|package| package["SPDXID"] == id.as_str()) {
            *package = image_file(file);
        }
    }
    Ok(text_of(&document))
}

/// Digest that identifies the document: the same for the same files.
fn identity(files: &[ImageFile]) -> Digest {
    let text: String = files.iter().map(|file| format!("{} {}\n", file.sha256, file.name)).collect();
    Digest::of(text.as_bytes())
}

fn text_of(document: &Value) -> String {
    format!("{document:#}\n")
}

const INIT_ID: &str = "SPDXRef-rocbed-init";

fn rocbed_init(program: &[u8]) -> Value {
    json!({
        "SPDXID": INIT_ID,
        "name": "rocbed-init",
        "versionInfo": env!("CARGO_PKG_VERSION"),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "APPLICATION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": Digest::of(program).to_string()}],
    })
}

fn image_file(file: &ImageFile) -> Value {
    json!({
        "SPDXID": file_id(&file.name),
        "name": file.name,
        "packageFileName": file.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "checksums": [{"algorithm": "SHA256", "checksumValue": file.sha256.to_string()}],
        "comment": format!("{} bytes", file.size),
    })
}

fn package(package: &LockedPackage) -> Value {
    json!({
        "SPDXID": package_id(package),
        "name": package.name,
        "versionInfo": package.version,
        "packageFileName": package.filename,
        "supplier": if package.archive.is_none() { "Organization: Debian" } else { "NOASSERTION" },
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "checksums": [{"algorithm": "SHA256", "checksumValue": package.sha256.to_string()}],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(package),
        }],
    })
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn file_id(name: &str) -> String {
    format!("SPDXRef-Image-{}", identifier(name))
}

fn package_id(package: &LockedPackage) -> String {
    format!("SPDXRef-Package-{}-{}", identifier(&package.name), package.architecture)
}

/// Makes an SPDX identifier: letters, digits, `.` and `-` (SPDX 2.3, section 3.2). Package names also have `+`.
fn identifier(name: &str) -> String {
    name.replace('+', ".p").replace('_', "-")
}

/// A package URL (purl-spec, type `deb`).
fn purl(package: &LockedPackage) -> String {
    let (name, version) = (percent_encoded(&package.name), percent_encoded(&package.version));
    format!("pkg:deb/debian/{name}@{version}?arch={}", package.architecture)
}

/// Percent-encodes text for a URI (RFC 3986, section 2): everything but unreserved characters.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::{lock, package as locked};

    #[test]
    fn packages_are_named_as_purl_and_spdx_want_them() {
        let gcc = locked("libstdc++6", "1:14.2-1+b1");
        assert_eq!(purl(&gcc), "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2-1%2Bb1?arch=amd64");
        assert_eq!(package_id(&gcc), "SPDXRef-Package-libstdc.p.p6-amd64");
    }

    #[test]
    fn the_document_says_what_the_root_contains() {
        let files = [ImageFile { name: "root.img".into(), size: 4096, sha256: Digest::of(b"root") }];
        let text = document("smoke", &lock(vec![locked("mawk", "1.3")]), b"init", &files);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["creationInfo"]["created"], "2026-10-30T08:08:01Z");
        assert_eq!(value["packages"][2]["versionInfo"], "1.3");
        let last = &value["relationships"][2];
        assert_eq!(
            (&last["relationshipType"], &last["relatedSpdxElement"]),
            (&"CONTAINS".into(), &"SPDXRef-Package-mawk-amd64".into())
        );
        let other = [ImageFile { name: "root.img".into(), size: 8192, sha256: Digest::of(b"other") }];
        let renewed_text = renewed(text.as_bytes(), &other).unwrap();
        assert_eq!(renewed_text, document("smoke", &lock(vec![locked("mawk", "1.3")]), b"init", &other));
        assert!(renewed(b"{}", &other).is_err());
        let named = |name| serde_json::from_str::<Value>(&document(name, &lock(vec![]), b"init", &files)).unwrap();
        let (name, namespace) = (named("größe & co")["name"].clone(), named("größe & co")["documentNamespace"].clone());
        assert_eq!(name, "größe & co");
        let namespace = namespace.as_str().unwrap();
        assert!(namespace.starts_with("urn:rocbed:gr%C3%B6%C3%9Fe%20%26%20co:"), "{namespace}");
        assert_eq!(text, document("smoke", &lock(vec![locked("mawk", "1.3")]), b"init", &files), "the same every time");
    }
}
