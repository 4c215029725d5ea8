use proptest::prelude::*;

use super::*;

const KEY: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n";

fn parse(line: &str) -> Result<JobLine, String> {
    JobLine::parse(line.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_line_of_debci_enqueue() -> Result<(), String> {
    let job = parse(
        "rocrand unstable run-id:1 trigger:rocr-runtime%2F6.4.3+x pin-packages:experimental=src:rocr-runtime backend:lxc",
    )?;
    assert_eq!((job.package.as_str(), job.suite.as_str(), job.run), ("rocrand", "unstable", RunId(1)));
    assert_eq!(job.trigger.as_deref(), Some("rocr-runtime%2F6.4.3+x"));
    assert_eq!(job.shown_trigger().as_deref(), Some("rocr-runtime/6.4.3 x"));
    assert_eq!((job.backend.as_deref(), job.autopkgtest.as_deref()), (Some("lxc"), None));
    let gpu = GpuNeed::Any;
    let made = job.job(gpu.clone());
    assert_eq!((made.id.as_str(), made.gpu, made.pin), ("rocrand-1", gpu, job.pins));
    Ok(())
}

#[test]
fn what_cannot_be_done_in_our_testbeds_is_refused() -> Result<(), String> {
    let suites = ["unstable".to_owned(), "sid".to_owned()];
    let why = |line: &str| -> Result<Option<String>, String> { Ok(parse(line)?.refusal(&suites)) };
    assert_eq!(why("rocrand unstable run-id:1")?, None);
    assert_eq!(why("rocrand sid run-id:1 trigger:x backend:incus-lxc pin-packages:experimental=src:x")?, None);
    assert_eq!(
        why("rocrand experimental run-id:1")?.as_deref(),
        Some("this worker tests in unstable and sid, and not in experimental")
    );
    assert!(why("rocrand sid run-id:1 autopkgtest:git")?.is_some_and(|why| why.contains("variant `git`")));
    Ok(())
}

#[test]
fn sources_and_keys_come_in_base64() -> Result<(), String> {
    let source = "deb [trusted=no] http://deb.example/x unstable main\n\ndeb-src http://deb.example/x unstable main\n";
    let line =
        format!("gzip sid run-id:2 extra-apt-source:{} signing-key:{}", BASE64.encode(source), BASE64.encode(KEY));
    let job = parse(&line)?;
    assert_eq!(job.apt_sources.len(), 2);
    assert!(job.apt_sources[1].starts_with("deb-src http://deb.example"));
    assert_eq!(job.signing_keys, [KEY]);
    Ok(())
}

#[test]
fn what_is_not_known_is_told() -> Result<(), String> {
    assert_eq!(parse("gzip sid run-id:2 colour:blue fast")?.unknown, ["colour:blue", "fast"]);
    Ok(())
}

#[test]
fn without_a_run_id_there_is_nothing_to_answer() {
    // A run id that is cut off is not one.
    let (long, cut) = ("x".repeat(LONGEST_LINE), format!("{} run-id:123456", "x".repeat(LONGEST_LINE - 10)));
    for line in ["", "gzip", "gzip sid", "gzip sid run-id:x", "gzip sid run-id:1 run-id:2", &long, &cut] {
        assert!(matches!(JobLine::parse(line.as_bytes()), Err(LineError::NoRun(_))), "{line:.80}");
    }
}

#[test]
fn a_line_that_is_too_long_or_not_text_can_be_answered() {
    let long = format!("gzip sid run-id:1 {}", "x ".repeat(LONGEST_LINE / 2)).into_bytes();
    for (line, says) in [(long, "longer than"), (b"gzip sid run-id:1 \xff".to_vec(), "not UTF-8")] {
        let error = JobLine::parse(&line);
        assert!(
            matches!(&error, Err(LineError::Refused { run: RunId(1), reason }) if reason.contains(says)),
            "{error:?}"
        );
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    let source = |text: &str| format!("gzip sid run-id:3 extra-apt-source:{}", BASE64.encode(text));
    let many = format!("gzip sid run-id:3 {}", "x ".repeat(MOST_WORDS));
    for (line, says) in [
        ("--help sid run-id:3".to_owned(), "name of a source package"),
        ("../x sid run-id:3".to_owned(), "name of a source package"),
        ("g sid run-id:3".to_owned(), "name of a source package"),
        ("gzip ../sid run-id:3".to_owned(), "name of a suite"),
        ("gzip run-id:3".to_owned(), "name of a suite"),
        ("run-id:3".to_owned(), "names no package"),
        ("gzip sid run-id:3 pin-packages:experimental".to_owned(), "RELEASE=PACKAGE"),
        ("gzip sid run-id:3 pin-packages:--x=y".to_owned(), "RELEASE=PACKAGE"),
        ("gzip sid run-id:3 pin-packages:experimental=$(id)".to_owned(), "RELEASE=PACKAGE"),
        ("gzip sid run-id:3 extra-apt-source:%%".to_owned(), "not base64"),
        (source("deb http://x/$(id) y z"), "sources.list"),
        (source("Types: deb"), "sources.list"),
        ("gzip sid run-id:3 signing-key:eA==".to_owned(), "ASCII armour"),
        ("gzip sid run-id:3 autopkgtest:../x".to_owned(), "not a name"),
        (many, "more than 500 words"),
    ] {
        let error = JobLine::parse(line.as_bytes()).expect_err(&line);
        assert!(matches!(&error, LineError::Refused { run: RunId(3), .. }), "{line:.80}: {error}");
        assert!(error.to_string().contains(says), "{line:.80}: {error}");
    }
}

fn lines() -> impl Strategy<Value = JobLine> {
    use proptest::collection::vec;
    use proptest::option::of;
    let names = ("[a-z0-9][a-z0-9+.-]{1,20}", "[a-z0-9][a-z0-9.~_-]{0,20}", any::<u64>());
    let lists = (
        vec("[a-z]{1,8}=(src:)?[a-z0-9][a-z0-9+.-]{0,8}(,[a-z*]{1,5}){0,2}", 0..3),
        vec("deb(-src)? (\\[[a-z=]{1,9}\\] )?http://[a-z]{1,9}/ [a-z]{1,9} [a-z]{1,9}", 0..3),
        vec(vec(any::<u8>(), 0..20), 0..3),
    );
    let options = (of("[!-~]{0,30}"), of("[a-z.]{1,9}"), of("[a-z-]{1,9}"));
    (names, lists, options).prop_map(|((package, suite, run), (pins, apt_sources, keys), options)| JobLine {
        package,
        suite,
        run: RunId(run),
        trigger: options.0,
        pins,
        apt_sources,
        signing_keys: keys.into_iter().map(|rest| [KEY, rest.as_slice()].concat()).collect(),
        autopkgtest: options.1,
        backend: options.2,
        unknown: Vec::new(),
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(job in lines()) {
        prop_assert_eq!(JobLine::parse(job.to_string().as_bytes()), Ok(job));
    }

    #[test]
    fn any_words_are_taken_or_refused(words in "(gzip|[ -~]{0,9}) (sid|[ -~]{0,9}) run-id:[0-9]{1,3}( (trigger|pin-packages|\
        extra-apt-source|signing-key|autopkgtest|backend|x):[!-~]{0,20}){0,5}") {
        if let Ok(job) = JobLine::parse(words.as_bytes()) {
            // Nothing that becomes an argument can be taken for an option, or leads out of a directory.
            let starts = [&job.package, &job.suite].into_iter().chain(&job.pins).chain(&job.apt_sources);
            for text in starts {
                prop_assert!(!text.starts_with(['-', '.']) && !text.contains("..=") && !text.contains('\n'), "{}", text);
            }
            prop_assert!(!job.package.contains('/') && !job.suite.contains('/'));
            prop_assert_eq!(JobLine::parse(job.to_string().as_bytes()), Ok(job));
        }
    }
}
