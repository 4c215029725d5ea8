//! Finds and reads recipe files, with errors that point at the line.

use std::fs;
use std::path::{Path, PathBuf};

use super::layer::{Layer, RecipeError, invalid};
use super::model::RecipeFile;
use super::{Recipe, merge, name, shipped};
use nearest::nearest;

/// Maximum depth of `inherits`; more is taken for a loop.
const MAX_INHERITS: usize = 16;

/// Loads a recipe by name or path and resolves what it inherits. A name with a slash or the suffix `.toml` is a path;
/// any other is `recipes/NAME.toml` here if there is one, else the shipped recipe.
pub fn load(asked: &str) -> Result<Recipe, RecipeError> {
    let (first, path) = open(asked, &From::CommandLine)?;
    let name = match &path {
        Some(path) => name::of_file(path),
        None => asked.to_owned(),
    };
    if let Some(why) = name::refused(&name) {
        return Err(RecipeError::Name { origin: first.origin.clone(), name, why });
    }
    let mut layers = vec![first];
    while let Some(parent) = layers.last().and_then(|layer| layer.file.inherits.clone()) {
        let child = &layers[layers.len() - 1];
        let (layer, path) = open(&parent, &child.directory.clone().map_or(From::Shipped, From::File))?;
        if path.is_some() && layer.origin == child.origin {
            return Err(RecipeError::InheritsItself { origin: layer.origin, name: parent });
        }
        if layers.len() > MAX_INHERITS {
            return Err(RecipeError::Inconsistent {
                origin: child.origin.clone(),
                message: format!("`inherits` goes round in a circle: {}", chain(&layers)),
            });
        }
        layers.push(layer);
    }
    layers.reverse();
    merge::resolve(name, path, &layers)
}

fn chain(layers: &[Layer]) -> String {
    layers.iter().take(4).map(|layer| layer.origin.as_str()).collect::<Vec<_>>().join(" -> ")
}

/// Origin of a request for a recipe, which decides where to look.
enum From {
    /// The user: in the current directory, then among the shipped recipes.
    CommandLine,
    /// A recipe file in this directory: beside it, then among the shipped recipes.
    File(PathBuf),
    /// A shipped recipe: only among the shipped recipes, so that it is the same everywhere.
    Shipped,
}

fn open(asked: &str, from: &From) -> Result<(Layer, Option<PathBuf>), RecipeError> {
    let is_path = asked.contains('/') || Path::new(asked).extension().is_some_and(|end| end == "toml");
    let path = match from {
        From::Shipped => None,
        From::CommandLine if is_path => Some(PathBuf::from(asked)),
        From::File(directory) if is_path => Some(directory.join(asked)),
        From::CommandLine => Some(Path::new("recipes").join(format!("{asked}.toml"))).filter(|path| path.is_file()),
        From::File(directory) => Some(directory.join(format!("{asked}.toml"))).filter(|path| path.is_file()),
    };
    if let Some(path) = path {
        let text = fs::read_to_string(&path).map_err(|error| RecipeError::Read { path: path.clone(), error })?;
        let origin = path.display().to_string();
        let file = parse_file(&text, &origin)?;
        let directory = Some(path.parent().map(Path::to_path_buf).unwrap_or_default());
        return Ok((Layer { origin, directory, file, text }, Some(path)));
    }
    let Some(text) = shipped::recipe_text(asked) else {
        let shipped: Vec<String> = shipped::names().map(str::to_owned).collect();
        let nearest = nearest(asked, shipped.iter().map(String::as_str)).first().map(|name| (*name).to_owned());
        return Err(RecipeError::Unknown { asked: asked.to_owned(), nearest, shipped });
    };
    let origin = format!("{asked} (shipped)");
    let file = parse_file(text, &origin)?;
    Ok((Layer { origin, directory: None, file, text: text.to_owned() }, None))
}

/// Loads a shipped recipe, ignoring the current directory.
pub fn load_shipped(name: &str) -> Result<Recipe, RecipeError> {
    let (mut layers, mut next) = (Vec::new(), Some(name.to_owned()));
    while let Some(parent) = next.take() {
        let (layer, _) = open(&parent, &From::Shipped)?;
        next.clone_from(&layer.file.inherits);
        layers.push(layer);
    }
    layers.reverse();
    merge::resolve(name.to_owned(), None, &layers)
}

/// Parses one recipe file's text; `origin` names it in errors.
pub fn parse_file(text: &str, origin: &str) -> Result<RecipeFile, RecipeError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = wrong_shape(error.message(), text, at).unwrap_or_else(|| with_nearest_key(error.message()));
        invalid(text, origin, at, message)
    })
}

/// Error message where a table, a list of tables or a list is written as something else: serde would name internal
/// types, and takes a list for the values of a table's keys.
fn wrong_shape(message: &str, text: &str, at: usize) -> Option<String> {
    let told = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid length "))?;
    let (_, expected) = told.split_once(", expected ")?;
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..)?.lines().next()?;
    let key = line.split('=').next()?.trim().trim_matches(['[', ']']);
    if key.is_empty() {
        return None;
    }
    let below = "on a line of its own, and its keys below it";
    match (key, expected.trim_end()) {
        ("packages", _) => {
            Some("`packages` is a table: write [packages] on a line of its own, and install = [...] below it".into())
        }
        ("archive" | "kernel" | "settings" | "image", _) => Some(format!("`{key}` is a table: write [{key}] {below}")),
        ("file" | "group" | "user" | "apt-source" | "extra-archive", _) => {
            Some(format!("`{key}` is a list of tables: write [[{key}]] {below}"))
        }
        (_, "a sequence") => Some(format!("`{key}` is a list: write {key} = [...]")),
        _ => None,
    }
}

/// Turns serde's "unknown field `a`, expected one of `b`, `c`" into a sentence that names the nearest key.
fn with_nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (true, Some(unknown)) = (message.starts_with("unknown field"), quoted.next()) else {
        return message.trim_end().to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    match nearest(unknown, known.iter().copied()).first() {
        Some(key) => format!("unknown key `{unknown}`; did you mean `{key}`?"),
        None => format!("unknown key `{unknown}`; known here: {}", known.join(", ")),
    }
}

/// JSON Schema of recipe files.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(RecipeFile)
}

#[cfg(test)]
mod tests {
    use advice::Advise as _;

    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest_known_one_and_its_place() {
        let error = parse_file("description = \"x\"\n[packages]\ninstal = [\"hello\"]\n", "my.toml").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("my.toml:3:1: unknown key `instal`; did you mean `install`?"), "{text}");
    }

    #[test]
    fn what_should_be_a_table_or_a_list_is_told_how_to_be_written() {
        let said = |text: &str| parse_file(text, "my.toml").unwrap_err().to_string();
        for (text, expected) in [
            ("packages = [\"strace\"]\n", "my.toml:1:13: `packages` is a table: write [packages]"),
            ("packages = \"strace\"\n", "`packages` is a table: write [packages]"),
            ("kernel = \"amd64\"\n", "`kernel` is a table: write [kernel]"),
            ("[file]\npath = \"/a\"\n", "write [[file]]"),
            ("user = [\"tester\"]\n", "`user` is a list of tables: write [[user]]"),
            ("[packages]\ninstall = \"strace\"\n", "my.toml:2:11: `install` is a list: write install = [...]"),
        ] {
            let said = said(text);
            assert!(said.contains(expected) && !said.contains("struct"), "{text}\n{said}");
        }
    }

    #[test]
    fn the_template_is_a_recipe_with_and_without_what_it_leaves_out() {
        let template = include_str!("../../../examples/recipe.toml");
        let is_key = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let is_left_out =
            |line: &str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| is_key(key));
        let uncommented: String = template
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_left_out(rest)).unwrap_or(line))
            .fold(String::new(), |all, line| all + line + "\n");
        assert!(uncommented.contains("\n[archive]\n") && uncommented.contains("\nmirror = "), "{uncommented}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine.toml");
        for text in [template, &uncommented] {
            fs::write(&path, text).unwrap();
            let recipe = load(path.to_str().unwrap()).unwrap();
            assert!(recipe.packages.install.iter().any(|package| package == "gdb"), "{:?}", recipe.packages.install);
            assert!(recipe.files.iter().any(|file| file.path.contains("gdbinit")), "{:?}", recipe.files);
        }
    }

    #[test]
    fn the_examples_of_packages_from_elsewhere_are_recipes() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/elsewhere");
        let mut seen = 0;
        for entry in fs::read_dir(examples).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "toml") {
                let recipe = load(path.to_str().unwrap()).unwrap();
                assert!(!recipe.description.is_empty(), "{}", path.display());
                seen += 1;
            }
        }
        assert_eq!(seen, 7);
    }

    #[test]
    fn what_cannot_be_of_an_extra_archive_is_told_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.toml");
        for (text, place, words) in [
            ("name = 'a'\npackages = []\n", "3:12", "no packages to take from it"),
            ("name = 'sid'\n", "2:8", "what the archive of [archive] is called"),
            ("name = 'local'\n", "2:8", "packages.local"),
            ("name = 'a b'\n", "2:8", "not a name for an archive"),
            ("name = 'a'\npackages = ['rocminfo/sid']\n", "3:13", "names no packages"),
            ("name = 'a'\nsuite = './'\ncomponents = ['main']\n", "4:14", "flat"),
            ("name = 'a'\n[[extra-archive]]\nname = 'a'\n", "4:8", "each needs a name of its own"),
            ("name = 'a'\n[packages]\nlocal = ['../rocr']\n", "4:10", "\"../rocr/*.deb\""),
            ("name = 'a'\n[packages.versions]\nrocminfo = '1 2'\n", "4:12", "not a version"),
            ("name = 'a'\n[packages.versions]\n'rocm info' = '1'\n", "4:15", "not a package"),
            ("name = 'a'\n[kernel]\npackage = 'vmlinuz'\n", "4:11", "begins with linux-"),
        ] {
            fs::write(&path, format!("[[extra-archive]]\n{text}")).unwrap();
            let error = load(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(error.contains(&format!("r.toml:{place}: ")) && error.contains(words), "{text}\n{error}");
        }
    }

    #[test]
    fn an_extra_archive_is_like_the_main_one_in_what_it_does_not_say() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.toml");
        let text = "[archive]\nsuite = 'trixie'\ncomponents = ['main', 'contrib']\ncheck-valid-until = false\n\
            [[extra-archive]]\nname = 'trixie-backports'\n[[extra-archive]]\nname = 'o'\nmirror = 'file:/srv/o'\ncomponents = ['x']\n";
        fs::write(&path, text).unwrap();
        let recipe = load(path.to_str().unwrap()).unwrap();
        let [own, backports] = recipe.extra_archives.as_slice() else { panic!("{:?}", recipe.extra_archives) };
        assert_eq!((backports.archive.suite.as_str(), backports.archive.components.len()), ("trixie-backports", 2));
        assert!(!backports.archive.check_valid_until && !backports.archive.snapshot.is_empty() && backports.in_apt);
        assert_eq!((own.archive.snapshot.as_str(), own.in_apt), ("", false), "its files are on this machine only");
        let sources: Vec<_> = recipe.apt_sources.iter().map(|source| source.suites.join(" ")).collect();
        assert_eq!(sources, ["trixie-backports"]);
    }

    #[test]
    fn a_bad_relation_is_found_while_reading() {
        let text = parse_file("[packages]\ninstall = [\"hello (>> \"]\n", "my.toml").unwrap_err().to_string();
        assert!(text.starts_with("my.toml:2:12: "), "{text}");
        assert!(text.contains("not a package relation"), "{text}");
    }

    #[test]
    fn an_unknown_recipe_is_answered_with_the_shipped_ones() {
        let error = load("smok").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("did you mean \"smoke\"?"), "{text}");
        assert!(error.help().to_string().contains("rocm-full"), "{text}");
    }

    #[test]
    fn a_recipe_may_have_any_name_that_a_directory_can_have() {
        let directory = tempfile::tempdir().unwrap();
        let load_as = |name: &str| {
            let path = directory.path().join(format!("{name}.toml"));
            fs::write(&path, "inherits = \"smoke\"").unwrap();
            load(path.to_str().unwrap())
        };
        for name in ["my recipe", "größe", "rocm+exp", "a.b", &"x".repeat(250)] {
            assert_eq!(load_as(name).unwrap().name, name);
        }
        for name in [".", ".."] {
            let text = load_as(name).unwrap_err().to_string();
            assert!(text.contains(&format!("it cannot be named {name:?}")), "{text}");
        }
    }

    #[test]
    fn a_circle_of_inherits_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.toml"), "inherits = \"b\"").unwrap();
        fs::write(directory.path().join("b.toml"), "inherits = \"a\"").unwrap();
        let text = load(directory.path().join("a.toml").to_str().unwrap()).unwrap_err().to_string();
        assert!(text.contains("circle"), "{text}");
        // Meant is the shipped one; a file beside the recipe comes before it.
        fs::write(directory.path().join("smoke.toml"), "inherits = \"smoke\"").unwrap();
        let error = load(directory.path().join("smoke.toml").to_str().unwrap()).unwrap_err();
        assert!(error.to_string().contains("inherits from itself"), "{error}");
        assert!(error.help().to_string().contains("rename"), "{error:?}");
    }
}
