use super::*;
use crate::state::{Load, ShownJob};
use appliance::report::Report;
use protocol::Verdict;

fn worker() -> State {
    let mut state = State { machine: "kernel 7.2, memory 65536 MiB".into(), name: "gpu-7".into(), ..State::default() };
    state.links.insert("eth0".into(), "192.0.2.17/24".into());
    let gpu = "gfx1030 Navi 21 [Radeon RX 6800/6800 XT / 6900 XT], 16 GiB at 0000:03:00.0";
    let hub = "http://192.0.2.7:8420";
    state.report(&Report::Ready { gpus: vec![gpu.into()], source: hub.into(), hub: Some(hub.into()) });
    state.loads = vec![Load { address: "0000:03:00.0".into(), celsius: Some(54), busy: Some(97) }];
    state
}

fn at_work() -> State {
    let mut state = worker();
    state.report(&Report::Finished { id: "gzip".into(), verdict: Verdict::Pass, summary: "2 passed".into() });
    state.report(&Report::Job { id: "rocrand".into(), position: None, expected: Some(1200), gpus: Vec::new() });
    state.report(&Report::Phase { id: "rocrand".into(), text: "test upstream".into() });
    state
}

#[test]
fn a_display_of_1024_by_768_shows_all_of_a_worker() {
    let shown = draw(&at_work(), Duration::from_secs(300), 128, 48).text();
    for expected in [
        "rocrand: test upstream",
        "for 5m of the 20m that it usually takes",
        "Machine   gpu-7",
        "Network   eth0: 192.0.2.17/24",
        "GPUs      gfx1030 Navi 21 [Radeon RX 6800/6800 XT / 6900 XT], 16 GiB at 0000:03:00.0",
        "          54 °C, 97 % in use",
        "Jobs from http://192.0.2.7:8420",
        "pass            gzip  2 passed",
        "kernel 7.2, memory 65536 MiB",
    ] {
        assert!(shown.contains(expected), "{expected}:\n{shown}");
    }
    // A quarter of the bar.
    let bar = shown.lines().find(|line| line.contains('░')).unwrap_or_default();
    let count = |wanted| bar.chars().filter(|char| *char == wanted).count();
    assert!(count('░') > 55 && count('░').div_ceil(count('█').max(1)) <= 4, "{bar}");
    assert_eq!(shown.matches("http://192.0.2.7:8420").count(), 2, "as a fact, and below its code:\n{shown}");
}

#[test]
fn everything_has_a_place_on_each_size_of_display() {
    for (width, height) in [(100, 30), (120, 33), (128, 48), (160, 64), (240, 67), (480, 135)] {
        let shown = draw(&at_work(), Duration::from_secs(9999), width, height).text();
        assert!(shown.lines().all(|line| line.chars().count() <= width), "{width} x {height}:\n{shown}");
        for expected in
            ["test upstream", "longer than the 20m", "eth0: 192.0.2.17/24", "54 °C", "http://192.0.2.7:8420"]
        {
            assert!(shown.contains(expected), "{width} x {height}, {expected}:\n{shown}");
        }
        assert!(has_room(width, height));
    }
    assert!(!has_room(80, 25));
}

#[test]
fn the_headline_is_what_the_machine_does() {
    let word = |change: &dyn Fn(&mut State)| {
        let mut state = worker();
        change(&mut state);
        let (word, _) = headline(&state);
        assert!(word.len() <= HEADLINE);
        word
    };
    assert_eq!(word(&|_| {}), "READY");
    assert_eq!(word(&|state| state.gpus = None), "BOOTING");
    let hours = Report::Condition { of: "hours".into(), text: "jobs again from 22:00".into(), bad: false };
    assert_eq!(word(&|state| state.report(&hours)), "RESTING");
    assert_eq!(word(&|state| state.report(&Report::condition("health", "unfit: no GPU".into()))), "UNFIT");
    assert_eq!(
        word(&|state| state.report(&Report::condition("health", "no job is taken: the clock".into()))),
        "WAITING"
    );
    assert_eq!(word(&|state| state.report(&Report::condition("hub", "no answer".into()))), "NO HUB");
    for of in ["debci", "jobs"] {
        assert_eq!(word(&|state| state.report(&Report::condition(of, "no answer".into()))), "NO JOBS", "{of}");
        assert_eq!(word(&|state| state.report(&Report::condition(of, String::new()))), "READY", "{of}");
    }
    assert_eq!(word(&|state| state.jobs.push(ShownJob::default())), "RUNNING");
    assert_eq!(word(&|state| state.ending = true), "ENDING");
}

#[test]
fn eight_jobs_are_listed_as_far_as_there_is_room() {
    let mut state = worker();
    for number in 0..8 {
        let gpus = vec![format!("simulated-{number}")];
        state.report(&Report::Job { id: format!("job-{number}"), position: None, expected: Some(600), gpus });
    }
    let shown = draw(&state, Duration::from_secs(60), 240, 67).text();
    for number in 0..8 {
        assert!(shown.contains(&format!("job-{number} with simulated-{number}: starting")), "{shown}");
    }
    assert_eq!(shown.matches("for 1m of the 10m that it usually takes").count(), 8, "{shown}");
    let small = draw(&state, Duration::from_secs(60), 100, 30).text();
    assert!(small.contains("more") && small.contains("Machine   gpu-7"), "{small}");
}

#[test]
fn a_job_of_which_nothing_is_known_has_no_bar() {
    let (bar, text) = progress(Duration::from_secs(59), None, 40);
    assert_eq!((bar.as_str(), text.as_str()), ("", "for 59 s; nothing is known of how long it takes"));
}

#[test]
fn only_a_hub_has_a_code() {
    let mut state = worker();
    let is_code = |state: &State| draw(state, Duration::ZERO, 128, 48).text().contains("████ ▄▄▄▄▄ █");
    assert!(is_code(&state));
    for source in ["jobs.toml on the stick", "http://192.0.2.8/jobs.toml"] {
        state.report(&Report::Ready { gpus: Vec::new(), source: source.into(), hub: None });
        assert!(!is_code(&state), "{source}");
    }
}
