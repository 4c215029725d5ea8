//! Trees on disk: hostile ones, mended ones, source packages, and SARIF.

use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lint::{Directory, Severity, check, dsc, fix, sarif};
use serde_json::json;
use sha256::Digest;

type Outcome = Result<(), Box<dyn Error>>;

fn write(root: &Path, path: &str, text: &str) -> Outcome {
    let path = root.join(path);
    fs::create_dir_all(path.parent().ok_or("a path has a directory")?)?;
    Ok(fs::write(path, text)?)
}

fn package(root: &Path, tests: &str) -> Outcome {
    write(root, "debian/control", "Source: foo\n\nPackage: foo\nArchitecture: any\n")?;
    write(root, "debian/tests/control", tests)
}

#[test]
fn nothing_outside_of_a_tree_is_read_and_nothing_is_waited_for() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("tree");
    package(&root, "Tests: out, pipe, zero, up, large, inside\nDepends: @\n")?;
    write(directory.path(), "secret", "#!/bin/sh\nexit 77\n")?;
    write(&root, "debian/tests/real", "#!/bin/sh\nfoo\n")?;
    let at = |name: &str| root.join("debian/tests").join(name);
    symlink("../../../secret", at("out"))?;
    symlink("/dev/zero", at("zero"))?;
    symlink("..", at("up"))?;
    symlink("real", at("inside"))?;
    fs::write(at("large"), "#".repeat(2 << 20))?;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0)?;
    let report = check(&Directory::new(&root)?);
    let unusable: Vec<_> = report.findings.iter().filter(|finding| finding.rule.id == "unusable-file").collect();
    let files: Vec<_> = unusable.iter().map(|finding| finding.file.rsplit('/').next().unwrap_or_default()).collect();
    assert_eq!(files, ["out", "pipe", "up", "zero"], "{report:#?}");
    assert_eq!(report.count(Severity::Error), 4, "{report:#?}");
    Ok(())
}

#[test]
fn mending_replaces_files_whole_and_follows_no_link() -> Outcome {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("tree");
    package(&root, "# mine\nTests: a\nRestriction: allow-stderr\n")?;
    write(&root, "debian/tests/a", "#!/bin/sh\r\nfoo\r\n")?;
    let script = root.join("debian/tests/a");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o640))?;
    let mut tree = Directory::new(&root)?;
    let fixed = fix(&mut tree, Severity::Note).map_err(|(file, error)| format!("{file}: {error}"))?;
    assert_eq!((fixed.files.len(), fixed.findings), (2, 3));
    assert_eq!(
        fs::read_to_string(root.join("debian/tests/control"))?,
        "# mine\nTests: a\nRestrictions: allow-stderr\n"
    );
    assert_eq!(fs::read_to_string(&script)?, "#!/bin/sh\nfoo\n");
    assert_eq!(fs::metadata(&script)?.permissions().mode() & 0o777, 0o750);
    assert_eq!(check(&tree).findings, []);

    // Another package's file that a link leads to is read, as it is in the tree, and not changed.
    write(&root, "shared", "Tests: a\nRestriction: allow-stderr\n")?;
    fs::remove_file(root.join("debian/tests/control"))?;
    symlink("../../shared", root.join("debian/tests/control"))?;
    let (file, error) = fix(&mut tree, Severity::Note).expect_err("a link is not replaced");
    assert_eq!(file, "debian/tests/control", "{error}");
    assert!(fs::read_to_string(root.join("shared"))?.contains("Restriction:"));
    Ok(())
}

/// A tar of a directory, without compression.
fn tar(root: &Path, to: &Path) -> Outcome {
    let status = std::process::Command::new("tar").arg("-C").arg(root).arg("-cf").arg(to).arg("debian").status()?;
    if status.success() { Ok(()) } else { Err("tar failed".into()) }
}

#[test]
fn a_dsc_is_checked_by_what_its_tar_has_and_a_damaged_one_is_refused() -> Outcome {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    package(&at("tree"), "Tests: a\nRestrictions: odd\n")?;
    let part = "foo_1-1.debian.tar.gz";
    tar(&at("tree"), &at(part))?;
    let plain = fs::read(at(part))?;
    // As parallel compressors write it: several streams in one file.
    let mut streams = Vec::new();
    for piece in plain.chunks(1000) {
        liblzma::read::XzEncoder::new(piece, 1).read_to_end(&mut streams)?;
    }
    for bytes in [plain, streams] {
        fs::write(at(part), &bytes)?;
        let digest = Digest::of(&bytes);
        let text = format!("Format: 3.0 (quilt)\nSource: foo\nChecksums-Sha256:\n {digest} 1 {part}\n");
        fs::write(at("foo.dsc"), text)?;
        let report = check(dsc::open(&at("foo.dsc"))?.tree());
        assert!(report.findings.iter().any(|finding| finding.rule.id == "unknown-restriction"), "{report:#?}");
    }
    fs::write(at(part), "damaged")?;
    assert!(matches!(dsc::open(&at("foo.dsc")), Err(dsc::Error::Digest { .. })));
    fs::remove_file(at(part))?;
    assert!(matches!(dsc::open(&at("foo.dsc")), Err(dsc::Error::Read { .. })));
    Ok(())
}

/// What SARIF 2.1.0 demands of the objects that are used (sections 3.13, 3.14, 3.19, 3.27 to 3.30, 3.35, 3.49), with
/// its closed lists of words; its objects allow no other properties.
fn sarif_schema() -> serde_json::Value {
    let text = json!({ "type": "object", "required": ["text"], "additionalProperties": false,
        "properties": { "text": { "type": "string", "minLength": 1 }, "markdown": { "type": "string" } } });
    let level = json!({ "enum": ["none", "note", "warning", "error"] });
    let number = json!({ "type": "integer", "minimum": 1 });
    let rule = json!({ "type": "object", "required": ["id"], "additionalProperties": false, "properties": {
        "id": { "type": "string" }, "shortDescription": text, "fullDescription": text, "help": text,
        "defaultConfiguration": { "type": "object", "additionalProperties": false, "properties": { "level": level } } } });
    let region = json!({ "type": "object", "additionalProperties": false, "properties": {
        "startLine": number, "startColumn": number, "endLine": number, "endColumn": number } });
    let artifact = json!({ "type": "object", "additionalProperties": false,
        "properties": { "uri": { "type": "string", "format": "uri-reference" }, "uriBaseId": { "type": "string" } } });
    let location = json!({ "type": "object", "additionalProperties": false, "properties": { "physicalLocation": {
        "type": "object", "additionalProperties": false, "properties": { "artifactLocation": artifact, "region": region } } } });
    let suppression = json!({ "type": "object", "required": ["kind"], "additionalProperties": false,
        "properties": { "kind": { "enum": ["inSource", "external"] }, "justification": { "type": "string" } } });
    let result = json!({ "type": "object", "required": ["message"], "additionalProperties": false, "properties": {
        "ruleId": { "type": "string" }, "ruleIndex": { "type": "integer", "minimum": 0 }, "level": level, "message": text,
        "locations": { "type": "array", "items": location },
        "suppressions": { "type": "array", "items": suppression } } });
    let driver = json!({ "type": "object", "required": ["name"], "additionalProperties": false, "properties": {
        "name": { "type": "string" }, "version": { "type": "string" },
        "rules": { "type": "array", "items": rule, "uniqueItems": true } } });
    json!({ "type": "object", "required": ["version", "runs"], "additionalProperties": false, "properties": {
        "$schema": { "type": "string", "format": "uri" }, "version": { "enum": ["2.1.0"] },
        "runs": { "type": "array", "items": { "type": "object", "required": ["tool"], "additionalProperties": false, "properties": {
            "tool": { "type": "object", "required": ["driver"], "properties": { "driver": driver } },
            "columnKind": { "enum": ["utf16CodeUnits", "unicodeCodePoints"] },
            "results": { "type": "array", "items": result } } } } } })
}

#[test]
fn sarif_has_what_the_standard_demands() -> Outcome {
    let directory = tempfile::tempdir()?;
    package(directory.path(), "Tests: a b%\nRestrictions: odd\nFlags: x\n")?;
    write(directory.path(), lint::OVERRIDES, "unknown-field: it is for a test of ours\n")?;
    let report = check(&Directory::new(directory.path())?);
    let log = sarif(&report);
    let schema = jsonschema::validator_for(&sarif_schema())?;
    let wrong: Vec<String> = schema.iter_errors(&log).map(|error| error.to_string()).collect();
    assert_eq!(wrong, Vec::<String>::new(), "{log:#}");
    let results = log["runs"][0]["results"].as_array().ok_or("results")?;
    let rules = &log["runs"][0]["tool"]["driver"]["rules"];
    assert_eq!(results.len(), report.findings.len());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().ok_or("an index")?)?;
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let silenced: Vec<_> = results.iter().filter(|result| result["suppressions"] != json!([])).collect();
    assert_eq!(silenced.len(), 1);
    assert_eq!(silenced[0]["ruleId"], "unknown-field");
    Ok(())
}
