//! What a hub's commands show on a terminal.

use std::io::Write;
use std::process::Stdio;

use protocol::Verdict;
use rocbed_tests::{Call, Hub, MadeUpWorker, Output, rocbed};
use serde_json::{Value, json};

use super::says;

/// What a command shows on a terminal of this width, with these keys typed.
fn on_terminal(call: Call, columns: u32, keys: &str) -> Output {
    let command = call.into_command();
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy());
    let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let line = format!("stty cols {columns} rows 24; exec {}", words.join(" "));
    let mut script = std::process::Command::new("script");
    script
        .args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().expect("script, of the package bsdutils");
    let mut stdin = child.stdin.take().expect("its stdin");
    for key in keys.bytes() {
        // A moment between the keys, as when somebody types.
        std::thread::sleep(std::time::Duration::from_millis(500));
        stdin.write_all(&[key]).expect("a key");
    }
    let output = child.wait_with_output().expect("its end");
    drop(stdin);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The text without colours, and without the carriage returns of a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.trim_start_matches(|char: char| !char.is_ascii_alphabetic());
        rest = rest.get(1..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain.replace('\r', "")
}

#[test]
fn on_a_terminal_tables_fit_and_have_colours_that_can_be_switched_off() {
    let hub = Hub::start(&[]);
    hub.call(&["jobs", "add", "composable-kernel-with-a-long-name", "--gpu", "gfx1030,gfx90a,gfx942"]).ok();
    let worker = MadeUpWorker::register(&hub, "poweredge-r7525-number-2", "gfx1030");
    worker.deliver(&worker.begin(), Verdict::Fail);
    for words in [
        &["jobs", "list"][..],
        &["results", "list"],
        &["workers", "list"],
        &["jobs", "watch", "composable-kernel-with-a-long-name"],
    ] {
        let wide = hub.call(words).run().stdout;
        assert!(!wide.contains('\u{1b}') && !wide.contains('…'), "{words:?}: all of it is there in a pipe:\n{wide}");
        let shown = on_terminal(hub.call(words), 60, "").stdout;
        assert!(shown.contains("\u{1b}[3") && !shown.contains("\\u{1b}"), "{words:?}: it has colours: {shown:?}");
        // A command to be copied is not cut.
        for line in plain(&shown).lines().filter(|line| !line.starts_with("reproduce ")) {
            assert!(line.chars().count() <= 60, "{words:?}: {line:?} is too wide in:\n{shown}");
        }
        let grey = on_terminal(hub.call(words).env("NO_COLOR", "1"), 60, "").stdout;
        assert_eq!(grey.matches('\u{1b}').count(), 0, "{words:?}: {grey:?}");
    }
}

#[test]
fn top_shows_a_hub_live_on_a_terminal_and_once_elsewhere() {
    let hub = Hub::start(&[]);
    hub.call(&["jobs", "add", "rocrand", "hipcub", "rocfft"]).ok();
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    worker.deliver(&worker.begin(), Verdict::Fail);
    worker.begin();

    let once = hub.call(&["top"]).ok();
    says(
        &once,
        &["1 of 1 worker online, 1 GPU; 1 job running, 1 queued", "lab-1", "gfx1030", "running upstream", "rocfft"],
    );
    says(&once, &["1 of 2 tests passed"]);
    assert!(!once.contains('\u{1b}') && !once.contains("q quit"), "{once}");
    let one: Value = serde_json::from_str(&hub.call(&["top", "--json"]).ok()).expect("JSON");
    assert_eq!((&one["running"][0]["job"]["id"], &one["queued"][0]["id"]), (&json!("hipcub"), &json!("rocfft")));
    assert!(one["running"][0]["since"].is_string() && one["workers"][0]["online"] == true, "{one}");

    // A filter that leaves only the queued job, then quit.
    let live = on_terminal(hub.call(&["top", "--every", "1s"]), 80, "/rocfft\rq");
    assert_eq!(live.code, Some(0), "{}", live.stderr);
    let (screen, after) = live
        .stdout
        .split_once("\u{1b}[?1049h")
        .expect("the alternate screen")
        .1
        .split_once("\u{1b}[?1049l")
        .expect("and back");
    assert_eq!(after, "", "nothing is left behind");
    says(screen, &["filter: rocfft_", "q quit  s sort (name)", "only \"rocfft\""]);
    let last = screen.rsplit("\u{1b}[H").next().expect("the last frame");
    assert!(last.contains("rocfft") && !last.contains("running upstream"), "{last}");
    let gone = hub.address().to_owned();
    drop(hub);
    let failed = rocbed(["top", "--hub", &gone]).fails();
    says(&failed, &["help: is the hub running"]);
}
