//! Tests of simulated GPUs: ROCm's own programs, unmodified, from Debian's packages.
//!
//! Building the root directory with them takes half of the time, so all tests share it; and most of the rest is Python's
//! start, so what needs no testbed of its own runs in one.

#[path = "simulate/leftovers.rs"]
mod leftovers;
#[path = "simulate/misuses.rs"]
mod misuses;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rocbed_tests::{Output, TestUser, real_mirror, rocbed, scratch, tool};
use serde_json::Value;

/// What cards and processors have, old and new.
const TARGETS: [&str; 12] = [
    "gfx906", "gfx908", "gfx90a", "gfx942", "gfx1010", "gfx1030", "gfx1031", "gfx1036", "gfx1100", "gfx1103",
    "gfx1151", "gfx1201",
];

/// Environment variable with the recipe, for tests that run again in namespaces: others read the file meanwhile.
const RECIPE: &str = "ROCBED_SIMULATE_RECIPE";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gpu").join(name)
}

/// The recipe of a root directory with ROCm's programs, which is built when it is first needed.
fn root() -> &'static str {
    static ROOT: OnceLock<String> = OnceLock::new();
    ROOT.get_or_init(|| {
        if let Ok(recipe) = std::env::var(RECIPE) {
            return recipe;
        }
        let mirror = real_mirror();
        // Its lock is written beside it.
        let directory = scratch().join("gpu");
        fs::create_dir_all(&directory).expect("a directory");
        let recipe = directory.join("recipe.toml");
        fs::copy(fixture("recipe.toml"), &recipe).expect("copying the recipe");
        let recipe = recipe.display().to_string();
        let words =
            ["simulate", "gfx1030", "--ignore-valid-until", "--mirror", &mirror, "--root", &recipe, "--", "pwd"];
        rocbed(words).ok();
        recipe
    })
}

/// Runs a command in the root directory with simulated GPUs.
fn simulate(gpus: &str, command: &[&str]) -> Output {
    rocbed(["simulate", gpus, "--root", root(), "--"]).args(command).run()
}

fn program(name: &str) -> String {
    fs::read_to_string(fixture(name)).expect("a program")
}

/// Runs a program of the fixtures that uses HIP there.
fn python(gpus: &str, name: &str, words: &[&str]) -> Output {
    simulate(gpus, &[&["python3", "-c", &program(name)], words].concat())
}

#[test]
fn rocms_programs_see_each_kind_of_gpu_and_copies_come_back_as_they_went() {
    let sizes = ["1", "4095", "4096", "4097", "65537", "16777221"];
    let script = "set -e; rocminfo; echo agents; rocm_agent_enumerator; echo end
        rocm-smi --showproductname --showmeminfo vram; amd-smi list; echo copies; exec python3 -c \"$0\" \"$@\"";
    for target in TARGETS {
        let hip = program("hip.py");
        let output = simulate(target, &[&["sh", "-c", script, &hip, "copies"], &sizes[..]].concat());
        assert_eq!(output.code, Some(0), "{target}: {}{}", output.stdout, output.stderr);
        let copies: String = sizes.iter().map(|size| format!("{size} same\n")).collect();
        for expected in [
            &format!("amdgcn-amd-amdhsa--{target}"),
            &format!("agents\n{target}\nend\n"),
            "VRAM Total Memory (B): ",
            "BDF: 0000:03:00.0",
            &format!("copies\n{copies}"),
        ] {
            assert!(output.stdout.contains(expected), "{target}: {expected}: {}{}", output.stdout, output.stderr);
        }
        assert!(output.stderr.contains("copied memory to or from the GPU"), "{target}: {}", output.stderr);
    }
}

/// Copies so many bytes to one GPU after the other, and back; with what each GPU came to.
fn copies_of(size: u64, targets: &[&str]) {
    for target in targets {
        let output = python(target, "hip.py", &["copies", &size.to_string()]);
        let expected = (Some(0), format!("{size} same\n"));
        assert_eq!((output.code, output.stdout), expected, "{target}: {}", output.stderr);
        assert!(output.stderr.contains(&format!(" of {} bytes, kernels refused 0)", 2 * size)), "{}", output.stderr);
    }
}

#[test]
fn large_copies_come_back_as_they_went() {
    copies_of(256 << 20, &["gfx1030"]);
}

#[test]
#[ignore = "minutes, and 2 GiB of memory"]
fn the_largest_copies_come_back_from_each_kind_of_gpu() {
    // A part of a processor with a gigabyte in all, of which queues take some.
    let (small, large): (Vec<&str>, Vec<&str>) = TARGETS.iter().partition(|target| **target == "gfx1036");
    copies_of(256 << 20, &small);
    copies_of(1 << 30, &large);
    let output = python(small[0], "hip.py", &["copies", "1", "1073741824"]);
    assert!(output.stderr.contains("hipMalloc: error 2"), "{}", output.stderr);
}

#[test]
fn several_gpus_have_memory_of_their_own() {
    let output = python("gfx1030,gfx90a,gfx1100", "hip.py", &["each"]);
    let expected = format!("GPUs: 3\n{}", "1048576 same\n".repeat(3));
    assert_eq!((output.code, output.stdout), (Some(0), expected), "{}", output.stderr);
}

#[test]
fn memory_of_the_program_is_shared_with_the_gpu() {
    let output = python("gfx942", "hip.py", &["managed", "1048576"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "1048576 same\n"), "{}", output.stderr);
    assert!(!output.stderr.contains("not simulated"), "{}", output.stderr);
}

#[test]
fn a_kernel_ends_the_program_with_an_illegal_instruction() {
    let output = python("gfx1030", "hip.py", &["misuse", "a kernel"]);
    assert_eq!(output.code, Some(128 + libc::SIGABRT), "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION"), "{}", output.stderr);
    assert!(output.stderr.contains("reached the first kernel launch"), "{}", output.stderr);
}

#[test]
fn a_success_after_a_kernel_does_not_count() {
    let script = "python3 -c \"$0\" misuse 'a kernel' > /dev/null 2>&1; exit 0";
    let output = simulate("gfx1030", &["sh", "-c", script, &program("hip.py")]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("this does not count as a success"), "{}", output.stderr);
}

#[test]
fn a_program_goes_on_after_skipped_kernels_and_never_succeeds() {
    let call = rocbed(["simulate", "gfx1030", "--skip-kernels", "--root", root(), "--", "python3", "-c"]);
    let output = call.arg(program("hip.py")).args(&["misuse", "a kernel"]).run();
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), "answer: 0\n"), "{}", output.stderr);
    assert!(output.stderr.contains("went on after kernels that did not run"), "{}", output.stderr);
}

/// Runs a program of the fixtures with interpreted kernels.
fn interpreted(target: &str, words: &[&str]) -> Output {
    let call = rocbed(["simulate", target, "--run-kernels", "--root", root(), "--", "python3", "-c"]);
    call.arg(program("hip.py")).args(words).run()
}

#[test]
fn kernels_of_hip_and_of_programs_are_interpreted() {
    for target in ["gfx1030", "gfx1100"] {
        let output = interpreted(target, &["fills", "1", "4096", "100003"]);
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (Some(0), "1 same\n4096 same\n100003 same\n"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains("ran kernels, interpreted on the processor"), "{target}: {}", output.stderr);
        let object = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crates/rdna/tests/kernels/{target}.co"));
        let object = fs::read(object).expect("a code object");
        let object: String = object.iter().map(|byte| format!("{byte:02x}")).collect();
        let output = interpreted(target, &["adds", &object, "1000"]);
        assert_eq!((output.code, output.stdout.as_str()), (Some(0), "1000 same\n"), "{}", output.stderr);
        assert!(output.stderr.contains("interpreted 1 of"), "{target}: {}", output.stderr);
    }
    let output = interpreted("gfx90a", &["fills", "4096"]);
    assert_ne!(output.code, Some(0), "{}", output.stdout);
    assert!(output.stderr.contains("reached the first kernel launch"), "{}", output.stderr);
}

#[test]
fn autopkgtests_run_with_interpreted_kernels_and_stay_simulated() {
    let tree = rocbed_tests::fixture_tree("fills");
    let mirror = real_mirror();
    let test = |options: &[&str]| {
        let words = ["test", root(), "--json", "--gpu=gfx1030", "--ignore-valid-until", "--mirror", &mirror];
        let output = rocbed(words).args(options).arg(&tree).run();
        let result = serde_json::from_str(&output.stdout);
        (output.code, result.unwrap_or_else(|error| panic!("{error}: {}", output.stderr)))
    };
    let reached = |result: &Value| result["warnings"][0].as_str().unwrap_or_default().to_owned();
    let (code, result): (_, Value) = test(&["--run-kernels"]);
    assert_eq!((code, &result["verdict"], &result["simulated"]), (Some(0), &"pass".into(), &true.into()), "{result}");
    let said = reached(&result);
    assert!(said.starts_with("test fills as user: on the simulated GPU it ran kernels, interpreted on"), "{said}");
    // The test itself takes the error for a success.
    let (code, result) = test(&[]);
    assert_eq!((code, &result["verdict"], &result["simulated"]), (Some(4), &"fail".into(), &true.into()), "{result}");
    assert!(reached(&result).contains("it reached the first kernel launch"), "{result}");
}

#[test]
fn users_have_simulated_gpus_too() {
    let user = TestUser::new("gpu");
    let program = rocbed_tests::rocbed_path().display().to_string();
    let asks = rocbed_tests::fixture_tree("asks").join("debian/tests/kfd");
    let line = format!("{program} simulate gfx1100 --quiet -- sh -c 'id -un; perl {}'", asks.display());
    let output = tool("su", ["-", &user.name, "-c", &line]);
    let (name, asked) = output.split_once('\n').unwrap_or_default();
    assert_eq!(name, user.name);
    assert!(asked.starts_with("KFD 1.") && asked.ends_with("gfx_target_version 110000\n"), "{asked}");
}

#[test]
fn sudo_keeps_working_and_its_programs_see_the_gpu() {
    let allow = "useradd tester && echo 'tester ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/tester";
    let script = &format!("{allow} && su tester -c 'sudo rocminfo | grep -c gfx1030'");
    let output = simulate("gfx1030", &["sh", "-c", script]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert_ne!(output.stdout.trim(), "0");
}

#[test]
fn autopkgtests_run_with_simulated_gpus() {
    let asks = rocbed_tests::fixture_tree("asks");
    let output = rocbed(["test", "smoke", "--json", "--gpu=gfx1100,gfx90a"]).arg(&asks).run();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let result: Value = serde_json::from_str(&output.stdout).expect("a result");
    assert_eq!((&result["verdict"], &result["simulated"]), (&Value::from("pass"), &Value::from(true)));
    assert_eq!(result["machine"]["gpus"]["gpus"][1]["target"], "gfx90a");
    let said = result["warnings"][0].as_str().unwrap_or_default();
    assert!(said.starts_with("test kfd as user: on the simulated GPU it opened the GPU"), "{result}");
}
