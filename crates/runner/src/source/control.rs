//! Parses the needed parts of `debian/tests/control` and `.dsc` files.

/// Whether the tests in a `debian/tests/control` (README.package-tests) have dependencies; tests without a `Depends`
/// field do.
pub fn wants_packages(control: &str) -> bool {
    let mut stanzas = Vec::new();
    let mut field = String::new();
    let mut new = true;
    for line in control.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            new = true;
            continue;
        }
        if std::mem::take(&mut new) {
            stanzas.push((None, false));
        }
        let Some((depends, others)) = stanzas.last_mut() else { continue };
        let value = if line.starts_with([' ', '\t']) {
            line
        } else {
            let Some((name, value)) = line.split_once(':') else { continue };
            field = name.trim().to_ascii_lowercase();
            if field == "depends" {
                *depends = Some(false);
            }
            value
        };
        match field.as_str() {
            "depends" if !value.trim().is_empty() => *depends = Some(true),
            "restrictions" if value.contains("build-needed") || value.contains("needs-sudo") => *others = true,
            _ => {}
        }
    }
    stanzas.into_iter().any(|(depends, others)| others || depends.unwrap_or(true))
}

/// Most files of a source package.
const MOST_PARTS: usize = 100;

/// The files in a `.dsc`, with their SHA-256 (deb-src-control(5), `Checksums-Sha256`).
pub(super) fn parts(dsc: &str) -> Result<Vec<(String, String)>, String> {
    let lines = dsc.lines().skip_while(|line| !line.to_ascii_lowercase().starts_with("checksums-sha256:")).skip(1);
    let mut parts = Vec::new();
    for line in lines.take_while(|line| line.starts_with(' ')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [sha256, _, name] = words.as_slice() else { return Err(format!("`{line}` is not a checksum")) };
        if name.starts_with('.') || name.contains('/') {
            return Err(format!("`{name}` is not a file name"));
        }
        parts.push(((*name).to_owned(), sha256.to_ascii_lowercase()));
    }
    if parts.len() > MOST_PARTS {
        return Err(format!("it names more than {MOST_PARTS} files"));
    }
    if parts.is_empty() { Err("it has no Checksums-Sha256".into()) } else { Ok(parts) }
}
