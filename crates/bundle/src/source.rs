//! Packs the source tree of a job, for a machine that gets it as a tar file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tar::Builder;

/// Writes a source tree as an uncompressed tar file with one directory, `source`, which [`unpack_source`] unpacks. Links are
/// packed as links, and holes of files as zeros.
///
/// [`unpack_source`]: crate::unpack_source
///
/// # Errors
///
/// If a file of the tree cannot be read, or the tar file cannot be written.
pub fn pack_source(tree: &Path, to: &Path) -> io::Result<()> {
    let mut archive = Builder::new(File::create(to)?);
    archive.follow_symlinks(false);
    // Its default; readers of source trees refuse such entries.
    archive.sparse(false);
    archive.append_dir_all("source", tree)?;
    archive.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tree_that_is_packed_is_unpacked() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let (tree, packed, to) =
            (directory.path().join("tree"), directory.path().join("x.tar"), directory.path().join("to"));
        let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
        fs::create_dir_all(tree.join("debian").join("d".repeat(200)))?;
        fs::create_dir(&to)?;
        fs::write(tree.join("debian/rules"), "#!/usr/bin/make -f\n")?;
        fs::set_permissions(tree.join("debian/rules"), PermissionsExt::from_mode(0o755))?;
        fs::write(tree.join("debian").join(&long), "content")?;
        symlink("../elsewhere", tree.join("link"))?;
        pack_source(&tree, &packed)?;
        crate::unpack_source(File::open(&packed)?, &crate::source_rules(1 << 20, 100, 1 << 20), &to)?;
        let source = to.join("source");
        assert_eq!(fs::read_to_string(source.join("debian").join(&long))?, "content");
        assert_eq!(fs::read_link(source.join("link"))?, Path::new("../elsewhere"));
        assert_eq!(fs::metadata(source.join("debian/rules"))?.permissions().mode() & 0o111, 0o111);
        Ok(())
    }

    #[test]
    fn a_file_with_a_hole_is_unpacked_whole() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let (tree, packed, to) =
            (directory.path().join("tree"), directory.path().join("x.tar"), directory.path().join("to"));
        fs::create_dir(&tree)?;
        fs::create_dir(&to)?;
        let mut file = File::create(tree.join("disk.img"))?;
        file.write_all(b"head")?;
        file.set_len(1 << 20)?;
        pack_source(&tree, &packed)?;
        crate::unpack_source(File::open(&packed)?, &crate::source_rules(1 << 21, 100, 1 << 20), &to)?;
        let mut content = vec![0; 1 << 20];
        content[..4].copy_from_slice(b"head");
        assert!(fs::read(to.join("source/disk.img"))? == content, "the content is another");
        Ok(())
    }
}
