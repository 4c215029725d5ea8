//! Checks of the example files for CI systems.

use std::path::{Path, PathBuf};

use rocbed_tests::tool;
use serde_json::Value;

use crate::pages::root;

/// The files as JSON.
fn files() -> Vec<(PathBuf, Value)> {
    let names = ["gitlab-ci.yml", "github.yml", "lint-gitlab-ci.yml"];
    let names = names.map(|name| PathBuf::from("examples/ci").join(name));
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Reads a file with the YAML parser that mkdocs depends on.
fn read(name: &Path) -> Value {
    let program = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let text = tool("python3", ["-c", program, &root().join(name).to_string_lossy()]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{} ({error}): {text}", name.display()))
}

/// The shell scripts in the files, each with its file's name.
pub fn scripts() -> Vec<(String, String)> {
    let mut scripts = Vec::new();
    for (name, file) in files() {
        find(&name.display().to_string(), &file, &mut scripts);
    }
    assert!(scripts.len() > 10, "scripts were not found: {scripts:?}");
    scripts
}

fn find(name: &str, value: &Value, scripts: &mut Vec<(String, String)>) {
    const KEYS: [&str; 4] = ["script", "before_script", "after_script", "run"];
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if KEYS.contains(&key.as_str()) => {
                        scripts.push((name.to_owned(), text.clone()));
                    }
                    Value::Array(lines) if KEYS.contains(&key.as_str()) => {
                        let lines = lines.iter().map(|line| line.as_str().expect("a line of a script"));
                        scripts.extend(lines.map(|line| (name.to_owned(), line.to_owned())));
                    }
                    _ => find(name, value, scripts),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                find(name, value, scripts);
            }
        }
        _ => {}
    }
}

#[test]
fn ci_files_are_what_their_systems_read() {
    let files = files();
    let [(_, gitlab), (_, github), (_, lint)] = &files[..] else { panic!("three files") };
    let stages = gitlab["stages"].as_array().expect("stages");
    for (name, job) in gitlab.as_object().expect("jobs") {
        if !["stages", "default", "variables"].contains(&name.as_str()) {
            assert!(stages.contains(&job["stage"]), "{name}: its stage is none of {stages:?}");
            assert!(job["script"].is_array(), "{name}: a job has a script");
        }
    }
    for (name, job) in github["jobs"].as_object().expect("jobs") {
        assert!(job["runs-on"].is_string(), "{name}: a job says where it runs");
        for step in job["steps"].as_array().expect("steps") {
            assert!(step["uses"].is_string() != step["run"].is_string(), "{name}: a step uses or runs: {step}");
        }
    }
    // Its stage is one that GitLab has without being told.
    let job = &lint["rocbed-lint"];
    assert!(job["script"].is_array() && job["stage"] == "test", "{job}");
    let hooks = read(Path::new(".pre-commit-hooks.yaml"));
    for key in ["id", "name", "entry", "language"] {
        assert!(hooks[0][key].is_string(), "a hook has {key}: {hooks}");
    }
    for (name, script) in scripts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("script");
        std::fs::write(&path, &script).expect("a script");
        assert_eq!(tool("sh", ["-n", &path.to_string_lossy()]), "", "{name}: {script}");
    }
}
