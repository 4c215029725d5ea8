//! What the checks need of `debian/control`.

use debian::deb822::{Comments, Error, Paragraph, Paragraphs};

/// Path of the control file of the source package.
pub(crate) const DEBIAN_CONTROL: &str = "debian/control";
/// Field with the targets that a binary package was compiled for, as it is in the package.
pub(crate) const GPU_FIELD: &str = "X-ROCm-GPU-Architecture";
/// The package with the launcher.
pub(crate) const TOOLS: &str = "pkg-rocm-tools";
/// Packages that only what is compiled with ROCm needs for its build.
const ROCM_BUILD: [&str; 5] = [TOOLS, "rocm-cmake", "hipcc", "libamdhip64-dev", "libhsa-runtime-dev"];

/// A source package.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) source: Option<String>,
    /// Whether it belongs to the ROCm stack, or is built with it.
    pub(crate) is_rocm: bool,
    /// Whether autodep8 makes tests for it.
    pub(crate) has_testsuite: bool,
    pub(crate) build_depends: Vec<String>,
    pub(crate) binaries: Vec<Binary>,
}

/// A binary package.
#[derive(Debug, Default)]
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) essential: bool,
    /// Names of all that it depends on or recommends.
    pub(crate) depends: Vec<String>,
    /// Whether it says which GPUs its code was compiled for.
    pub(crate) names_gpus: bool,
}

impl Package {
    /// Reads as far as the first error, which is returned too.
    pub(crate) fn parse(text: &str) -> (Self, Option<Error>) {
        let (mut package, mut error) = (Self::default(), None);
        for paragraph in Paragraphs::new(text, Comments::Allowed) {
            match paragraph {
                Ok(paragraph) => package.add(&paragraph),
                Err(found) => error = Some(found),
            }
        }
        (package, error)
    }

    fn add(&mut self, paragraph: &Paragraph<'_>) {
        let get = |name: &str| paragraph.get(name).unwrap_or_default();
        if let Some(name) = paragraph.get("Package") {
            let kind = paragraph.get("Package-Type").or_else(|| paragraph.get("XC-Package-Type"));
            if kind.is_none_or(|kind| kind == "deb") {
                self.binaries.push(Binary {
                    name: name.to_owned(),
                    architecture: get("Architecture").split_whitespace().collect::<Vec<_>>().join(" "),
                    essential: get("Essential") == "yes",
                    depends: ["Depends", "Pre-Depends", "Recommends"]
                        .into_iter()
                        .flat_map(|field| names(get(field)))
                        .collect(),
                    names_gpus: paragraph.get(&format!("XB-{GPU_FIELD}")).is_some(),
                });
            }
        } else if self.source.is_none() {
            self.source = paragraph.get("Source").map(str::to_owned);
            self.has_testsuite = get("Testsuite").contains("autopkgtest-pkg-");
            for field in ["Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep"] {
                self.build_depends.extend(names(get(field)));
            }
            self.is_rocm = get("Maintainer").contains("ROCm")
                || self.build_depends.iter().any(|name| ROCM_BUILD.contains(&name.as_str()));
        }
    }

    pub(crate) fn binary(&self, name: &str) -> Option<&Binary> {
        self.binaries.iter().find(|binary| binary.name == name)
    }
}

/// Names of the packages in a relation field, which may have substitution variables.
pub(crate) fn names(field: &str) -> Vec<String> {
    let name = |item: &str| -> Option<String> {
        let item = item.trim_start();
        let end = item.find(|char: char| !(char.is_ascii_alphanumeric() || "+-.".contains(char))).unwrap_or(item.len());
        let name = item.get(..end)?;
        (!name.is_empty()).then(|| name.to_owned())
    };
    let items = field.split('\n').filter(|line| !line.starts_with('#')).flat_map(|line| line.split([',', '|']));
    items.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_among_versions_variables_and_comments() {
        let field = "a (>= 1) | b [amd64] <!nocheck>,\n# c\n ${misc:Depends}, d:any";
        assert_eq!(names(field), ["a", "b", "d"]);
    }
}
