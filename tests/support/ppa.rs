//! A PPA, as Launchpad lays it out: a signed archive for a series of Ubuntu, with a key of its own.

use std::fs;
use std::path::PathBuf;

use crate::{Server, TestArchive, tool};

/// The series of Ubuntu, and where the archive is on its server.
const SERIES: &str = "noble";
const PLACE: &str = "owner/name/ubuntu";

/// The PPA `owner/name` with one package.
pub struct Ppa {
    archive: TestArchive,
    server: Server,
    deb: PathBuf,
}

impl Ppa {
    /// Publishes a package in this version.
    pub fn new(package: &str, version: &str) -> Self {
        let archive = TestArchive::empty();
        archive.add_deb_with(package, version, "", &[]);
        let base = archive.path().join(PLACE);
        let pool = base.join("pool/main").join(&package[..1]).join(package);
        fs::create_dir_all(&pool).expect("a pool");
        let file = format!("{package}_{version}_amd64.deb");
        let deb = pool.join(&file);
        fs::rename(archive.path().join("pool").join(&file), &deb).expect("moving the package");
        let indexes = base.join("dists").join(SERIES).join("main/binary-amd64");
        fs::create_dir_all(&indexes).expect("a directory for indexes");
        let scan = format!("cd {} && dpkg-scanpackages --multiversion pool 2>/dev/null", base.display());
        fs::write(indexes.join("Packages"), tool("sh", ["-c", &scan])).expect("writing the index");
        tool("xz", ["--keep", &indexes.join("Packages").to_string_lossy()]);
        let fields = format!(
            "Origin: LP-PPA-owner-name\nLabel: name\nSuite: {SERIES}\nVersion: 24.04\nCodename: {SERIES}\n\
             Date: Fri, 30 Oct 2026 08:08:01 UTC\nArchitectures: amd64 arm64\nComponents: main\nDescription: Ubuntu Noble 24.04\n"
        );
        let files = ["main/binary-amd64/Packages", "main/binary-amd64/Packages.xz"];
        archive.sign(&format!("{PLACE}/dists/{SERIES}"), &fields, &files);
        let server = archive.serve();
        Self { archive, server, deb }
    }

    /// The package as a file.
    pub fn deb(&self) -> String {
        self.deb.display().to_string()
    }

    /// The requested paths so far.
    pub fn requests(&self) -> Vec<String> {
        self.server.requests()
    }

    /// The file for `--apt-source`, beside the key: the one of the documentation, with the address of this server.
    pub fn source(&self) -> String {
        let blocks = include_str!("../../docs/jobs.md").split("```");
        let example =
            blocks.filter_map(|block| block.strip_prefix("text\n")).find(|block| block.contains("launchpadcontent"));
        let example = example.expect("the documentation's example");
        let address = "https://ppa.launchpadcontent.net/OWNER/NAME/ubuntu";
        assert!(example.contains(address) && example.contains(SERIES), "{example}");
        let at = |name: &str| self.archive.path().join(name);
        fs::copy(at("key.asc"), at("ppa.asc")).expect("copying the key");
        fs::write(at("ppa.sources"), example.replace(address, &self.server.url(PLACE))).expect("writing the source");
        at("ppa.sources").display().to_string()
    }
}
