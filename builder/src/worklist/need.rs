//! The GPUs that a package's tests need, as far as it is recorded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use advice::AtPath as _;
use anyhow::{Context as _, Result, bail};
use debian::deb822::{Comments, Paragraphs};
use gpu::Target;
use lint::TestClass;
use protocol::GpuNeed;

use super::Indexes;

/// Field of a binary package with the targets that its code was compiled for.
const FIELD: &str = "X-ROCm-GPU-Architecture";

/// GPU needs from source trees, by the name of the source package.
pub type Trees = BTreeMap<String, GpuNeed>;

/// The GPU need of a package: from its source tree, else from the targets its packages were compiled for, else any
/// GPU.
pub fn of(package: &str, indexes: &Indexes<'_>, trees: &Trees) -> GpuNeed {
    if let Some(need) = trees.get(package) {
        return need.clone();
    }
    let mut targets: Vec<Target> = Vec::new();
    for binary in indexes.binaries(package) {
        // Targets unknown to this version are of no use: its workers do not know them either.
        let named =
            binary.field(FIELD).unwrap_or_default().split_whitespace().filter_map(|word| word.parse::<Target>().ok());
        targets.extend(named);
    }
    targets.sort_unstable();
    targets.dedup();
    if targets.is_empty() { GpuNeed::Any } else { GpuNeed::Targets(targets) }
}

/// Reads an unpacked source tree: the package name, and the GPU need in `Classes` of its debian/tests/control; `None`
/// if they do not mention GPUs.
pub fn of_tree(tree: &Path) -> Result<(String, Option<GpuNeed>)> {
    let read = |name: &str| {
        let path = tree.join(name);
        fs::read_to_string(&path).at_path("reading", &path)
    };
    let control =
        read("debian/control").context("--source takes an unpacked source tree, with debian/control in it")?;
    let first = Paragraphs::new(&control, Comments::Allowed).next();
    let source = first.transpose().context("reading debian/control")?.and_then(|first| first.get("Source"));
    let Some(source) = source else { bail!("{}: debian/control names no source package", tree.display()) };
    let tests = if tree.join("debian/tests/control").exists() { read("debian/tests/control")? } else { String::new() };
    let need = classes(&tests).with_context(|| format!("reading debian/tests/control of {source}"))?;
    Ok((source.to_owned(), need))
}

/// The GPU need in the `Classes` fields of a debian/tests/control (README.package-tests): targets, any of which is
/// enough; `gpu`, `amdgpu` or `rocm` for any GPU. Other classes are ignored.
pub fn classes(control: &str) -> Result<Option<GpuNeed>, debian::deb822::Error> {
    let (mut targets, mut any): (Vec<Target>, bool) = (Vec::new(), false);
    for paragraph in Paragraphs::new(control, Comments::Allowed) {
        let paragraph = paragraph?;
        for class in lint::test_classes(paragraph.get("Classes").unwrap_or_default()) {
            match class {
                TestClass::AnyGpu => any = true,
                TestClass::Target(target) => targets.push(target),
            }
        }
    }
    targets.sort_unstable();
    targets.dedup();
    Ok(match (any, targets.is_empty()) {
        (true, _) => Some(GpuNeed::Any),
        (false, false) => Some(GpuNeed::Targets(targets)),
        (false, true) => None,
    })
}

/// The targets in `wanted` that satisfy a need: those that it names itself or by a generic target, or all of them if
/// any GPU is enough.
pub fn on_each(need: &GpuNeed, wanted: &[Target]) -> Vec<Target> {
    let fits = |target: &&Target| match need {
        GpuNeed::Targets(named) => named.iter().any(|named| target.satisfies(named)),
        GpuNeed::Any | GpuNeed::IfThere => true,
        GpuNeed::None => false,
    };
    wanted.iter().filter(fits).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worklist::tests::with;

    #[test]
    fn packages_say_what_they_were_compiled_for() {
        with(("", ""), |indexes| {
            let need = |name: &str| of(name, indexes, &Trees::new()).to_string();
            assert_eq!(need("rocrand"), "gfx900 or gfx1030", "an unknown target is left out");
            assert!(need("hipcub").contains("gfx11-generic"), "{}", need("hipcub"));
            assert_eq!(need("rocminfo"), "any GPU");
            let trees = Trees::from([("rocrand".to_owned(), GpuNeed::None)]);
            assert_eq!(of("rocrand", indexes, &trees), GpuNeed::None, "a source tree knows better");
        });
    }

    #[test]
    fn classes_are_read_from_every_stanza() {
        let control =
            "# ours\nTests: a\nClasses: desktop, gfx1030\n\nTest-Command: b\nClasses: gfx11-generic\n desktop\n";
        let Ok(Some(GpuNeed::Targets(targets))) = classes(control) else { panic!("no targets") };
        assert_eq!(targets.len(), 2);
        assert_eq!(classes("Tests: a\nClasses: gpu, gfx1030\n"), Ok(Some(GpuNeed::Any)));
        assert_eq!(classes("Tests: a\nClasses: desktop\n"), Ok(None));
        assert_eq!(classes(""), Ok(None));
        assert!(classes("no field\n").is_err());
    }

    #[test]
    fn a_tree_says_which_package_it_is() -> Result<()> {
        let tree = tempfile::tempdir()?;
        assert!(of_tree(tree.path()).is_err());
        fs::create_dir_all(tree.path().join("debian/tests"))?;
        fs::write(tree.path().join("debian/control"), "# x\nSource: rocfft\nSection: libs\n\nPackage: librocfft0\n")?;
        assert_eq!(of_tree(tree.path())?, ("rocfft".to_owned(), None));
        fs::write(tree.path().join("debian/tests/control"), "Tests: a\nClasses: gfx90a\n")?;
        assert_eq!(of_tree(tree.path())?.1.map(|need| need.to_string()).as_deref(), Some("gfx90a"));
        Ok(())
    }

    #[test]
    fn jobs_for_each_target_that_fits() {
        let target = |name: &str| name.parse::<Target>().unwrap();
        let wanted = [target("gfx1030"), target("gfx1101"), target("gfx90a")];
        let need = GpuNeed::Targets(vec![target("gfx11-generic"), target("gfx1030")]);
        assert_eq!(on_each(&need, &wanted), [target("gfx1030"), target("gfx1101")]);
        assert_eq!(on_each(&GpuNeed::Any, &wanted).len(), 3);
    }
}
