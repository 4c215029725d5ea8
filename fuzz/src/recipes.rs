//! What people write or keep beside their images.

use crate::text;

/// A recipe file. Errors have to be told without panicking either.
pub fn recipe(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match rocbed::recipe::parse_file(text, "fuzz") {
        Ok(_) => {}
        Err(error) => assert!(error.to_string().contains("fuzz")),
    }
    let _size = rocbed::recipe::parse_size(text);
}

/// A lock. What is written of it reads back, and its files are below the archive's root.
pub fn lock(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let lock = match rocbed::lock::Lock::parse(text, "fuzz") {
        Ok(lock) => lock,
        Err(error) => {
            assert!(error.to_string().contains("fuzz"));
            return;
        }
    };
    for package in &lock.packages {
        assert!(!package.filename.starts_with('/') && package.filename.split('/').all(|part| part != ".."));
    }
    let written = lock.to_text().expect("a lock that was read");
    let again = rocbed::lock::Lock::parse(&written, "written").expect("our own lock");
    assert_eq!(again, lock, "{written}");
}
