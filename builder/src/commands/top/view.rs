//! A snapshot as lines of text that fit a terminal; a pure function.

use jiff::Timestamp;
use protocol::api::{Health, JobInfo, ResultInfo, WorkerInfo};

use super::snapshot::{Running, Snapshot};
use crate::commands::jobs::gpu;
use crate::commands::{results, workers};
use crate::table::{Cell, Screen, Table, bold, dimmed, line, warning};
use crate::times::ago;
use crate::wording::counted;

/// Width of a progress bar.
const BAR: u64 = 10;
/// Lines that a section keeps on a small terminal: its heading and one row.
const LEAST: usize = 2;

/// What the user chose to see.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) sort: Sort,
    /// Only rows with this text.
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) typing: bool,
    /// Why the hub does not answer.
    pub(super) trouble: Option<String>,
}

/// The order of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// By names.
    #[default]
    Name,
    /// What needs somebody first: unfit workers, failed results.
    State,
    /// The newest first.
    Time,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Name => Self::State,
            Self::State => Self::Time,
            Self::Time => Self::Name,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Time => "time",
        }
    }
}

/// The lines, at most `height` of them.
pub(super) fn frame(
    snapshot: &Snapshot,
    view: &View,
    address: &str,
    now: Timestamp,
    screen: Screen,
    height: usize,
) -> Vec<String> {
    let mut sections: Vec<Vec<String>> = [
        worker_table(snapshot, view, now),
        running_table(snapshot, view, now),
        queue_table(snapshot, view, now),
        result_table(snapshot, view, now),
    ]
    .into_iter()
    .flatten()
    .map(|table| table.text(screen).lines().map(str::to_owned).collect())
    .collect();
    let mut lines = vec![line(&summary(snapshot, address), screen)];
    lines.extend(
        view.trouble
            .as_ref()
            .map(|trouble| line(&[Cell::coloured(format!("the hub does not answer: {trouble}"), warning())], screen)),
    );
    let footer = (screen.width.is_some()).then(|| line(&keys(view), screen));
    let fixed = lines.len() + usize::from(footer.is_some());
    fit(&mut sections, height.saturating_sub(fixed));
    for section in sections {
        lines.push(String::new());
        lines.extend(section);
    }
    let room = height.saturating_sub(usize::from(footer.is_some()));
    lines.truncate(room);
    if let Some(footer) = footer {
        // The keys are at the bottom.
        let blank = if height == usize::MAX { lines.len() + 1 } else { room };
        lines.resize(blank, String::new());
        lines.push(footer);
    }
    lines
}

/// Takes rows off the longest section until all fit, each with an empty line before it.
fn fit(sections: &mut [Vec<String>], height: usize) {
    let mut hidden = vec![0_usize; sections.len()];
    while sections.iter().map(|section| section.len() + 1).sum::<usize>() > height {
        let longest = sections.iter_mut().zip(&mut hidden).max_by_key(|(section, _)| section.len());
        let Some((section, hidden)) = longest.filter(|(section, _)| section.len() > LEAST) else { return };
        if *hidden > 0 {
            section.pop();
        }
        section.pop();
        // The line that says so takes the place of one more.
        let first = *hidden == 0 && section.len() > LEAST;
        if first {
            section.pop();
        }
        *hidden += if first { 2 } else { 1 };
        section.push(format!("… {hidden} more"));
    }
}

fn summary(snapshot: &Snapshot, address: &str) -> Vec<Cell> {
    let online = snapshot.workers.iter().filter(|worker| worker.online).count();
    let gpus: usize =
        snapshot.workers.iter().filter(|worker| worker.online).map(|worker| worker.machine.gpus.gpus.len()).sum();
    let text = format!(
        "  {} of {} online, {}; {} running, {} queued",
        online,
        counted(snapshot.workers.len(), "worker", "workers"),
        counted(gpus, "GPU", "GPUs"),
        counted(snapshot.running.len(), "job", "jobs"),
        snapshot.queued.len(),
    );
    vec![Cell::coloured(address, bold()), text.into()]
}

fn keys(view: &View) -> Vec<Cell> {
    if view.typing {
        return vec![
            format!("filter: {}_", view.filter).into(),
            Cell::coloured("  Enter keeps it, Esc removes it", dimmed()),
        ];
    }
    let filter = if view.filter.is_empty() { String::new() } else { format!("only {:?} (Esc: all)  ", view.filter) };
    let text = format!("{filter}q quit  s sort ({})  / filter  Space look now", view.sort.name());
    vec![Cell::coloured(text, dimmed())]
}

/// Whether one of the texts contains the filter, in any case.
fn fits(view: &View, texts: &[&str]) -> bool {
    let wanted = view.filter.to_lowercase();
    wanted.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&wanted))
}

/// How much a worker needs somebody.
fn urgency(worker: &WorkerInfo) -> u8 {
    match (worker.online, worker.health, &worker.paused) {
        (true, Health::Unfit, _) => 0,
        (false, ..) => 1,
        (true, _, Some(_)) => 2,
        (true, Health::Qualifying | Health::OutsideHours | Health::Rebooting | Health::Off, None) => 3,
        (true, Health::Ready, None) => 4,
    }
}

fn worker_table(snapshot: &Snapshot, view: &View, now: Timestamp) -> Option<Table> {
    let shown = |worker: &&WorkerInfo| {
        let targets = workers::gpus(worker);
        let jobs = worker.jobs.join(" ");
        fits(view, &[worker.name(), &targets, &jobs, worker.health.name(), &worker.message])
    };
    let mut list: Vec<WorkerInfo> = snapshot.workers.iter().filter(shown).cloned().collect();
    list.sort_by(|one, other| one.name().cmp(other.name()));
    match view.sort {
        Sort::Name => {}
        Sort::State => list.sort_by_key(urgency),
        Sort::Time => list.sort_by_key(|worker| std::cmp::Reverse(worker.seen)),
    }
    (!list.is_empty()).then(|| workers::table(&list, now))
}

fn running_table(snapshot: &Snapshot, view: &View, now: Timestamp) -> Option<Table> {
    let shown = |running: &&Running| {
        let job = &running.job;
        fits(
            view,
            &[
                &job.id,
                job.worker_name().unwrap_or_default(),
                &gpu(&job.job.gpu),
                job.phase.as_deref().unwrap_or_default(),
            ],
        )
    };
    let mut list: Vec<&Running> = snapshot.running.iter().filter(shown).collect();
    match view.sort {
        Sort::Name => list.sort_by(|one, other| one.job.id.cmp(&other.job.id)),
        // The longest first: it may hang.
        Sort::State => list.sort_by_key(|running| running.since),
        Sort::Time => list.sort_by_key(|running| std::cmp::Reverse(running.since)),
    }
    let mut table = Table::new(&["RUNNING", "WORKER", "GPU", "SINCE", "PROGRESS", "WHAT"])
        .expendable(&["GPU", "PROGRESS", "WORKER"]);
    for running in &list {
        let job = &running.job;
        table.row([
            job.id.clone().into(),
            job.worker_name().unwrap_or_default().into(),
            gpu(&job.job.gpu).into(),
            running.since.map(|since| ago(since, now)).unwrap_or_default().into(),
            progress(running, now).into(),
            job.phase.clone().unwrap_or_default().into(),
        ]);
    }
    (!list.is_empty()).then_some(table)
}

/// How far a job is, if it takes as long as the package took last time: `[=====     ] of 12m`.
fn progress(running: &Running, now: Timestamp) -> String {
    let (Some(since), Some(usual)) = (running.since, running.usual_seconds) else { return String::new() };
    let elapsed = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
    let done = (elapsed.saturating_mul(BAR) / usual.max(1)).min(BAR);
    let bar: String = (0..BAR).map(|step| if step < done { '=' } else { ' ' }).collect();
    let usual = i64::try_from(usual).unwrap_or(i64::MAX);
    let begin = Timestamp::from_second(now.as_second().saturating_sub(usual)).unwrap_or(now);
    format!("[{bar}] of {}", ago(begin, now))
}

fn queue_table(snapshot: &Snapshot, view: &View, now: Timestamp) -> Option<Table> {
    let shown = |job: &&JobInfo| fits(view, &[&job.id, &gpu(&job.job.gpu), job.why.as_deref().unwrap_or_default()]);
    let mut list: Vec<&JobInfo> = snapshot.queued.iter().filter(shown).collect();
    match view.sort {
        Sort::Name | Sort::State => {}
        Sort::Time => list.sort_by_key(|job| std::cmp::Reverse(job.added)),
    }
    let mut table = Table::new(&["QUEUED", "GPU", "AGE", "WHY"]).expendable(&["AGE", "GPU"]);
    for job in &list {
        table.row([
            job.id.clone().into(),
            gpu(&job.job.gpu).into(),
            ago(job.added, now).into(),
            job.why.clone().unwrap_or_default().into(),
        ]);
    }
    (!list.is_empty()).then_some(table)
}

fn result_table(snapshot: &Snapshot, view: &View, now: Timestamp) -> Option<Table> {
    let shown = |result: &&ResultInfo| {
        let targets = result.targets.join(" ");
        fits(view, &[&result.job, result.verdict.name(), &targets, result.worker_name(), &result.summary])
    };
    let mut list: Vec<ResultInfo> = snapshot.results.iter().filter(shown).cloned().collect();
    match view.sort {
        Sort::Name => {}
        Sort::State => list.sort_by_key(|result| result.verdict == protocol::Verdict::Pass),
        Sort::Time => list.sort_by_key(|result| std::cmp::Reverse(result.received.unwrap_or(result.finished))),
    }
    (!list.is_empty()).then(|| results::table(&list, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::api::JobState;
    use protocol::{Job, Machine, Source, Verdict};

    fn worker(name: &str, health: Health, jobs: &[&str]) -> WorkerInfo {
        WorkerInfo {
            id: format!("id-of-{name}"),
            name: name.into(),
            machine: Machine { gpus: gpu::simulate("gfx1030").unwrap(), ..Machine::default() },
            health,
            message: if health == Health::Unfit { "no GPU answers".into() } else { String::new() },
            online: true,
            seen: Timestamp::UNIX_EPOCH,
            registered: Timestamp::UNIX_EPOCH,
            jobs: jobs.iter().map(|job| (*job).to_owned()).collect(),
            paused: None,
            clock_ahead: None,
        }
    }

    fn job(id: &str, state: JobState) -> JobInfo {
        JobInfo {
            id: id.into(),
            job: Job::new(Source::Package(id.into())),
            state,
            why: (state == JobState::Queued).then(|| "no worker is free".into()),
            worker: Some("id-of-lab".into()),
            worker_name: Some("lab".into()),
            phase: Some("running upstream".into()),
            added: Timestamp::UNIX_EPOCH,
            ended: None,
            retry_of: None,
            debci: None,
            attempts: Vec::new(),
            result: None,
            part_of: None,
            parts: Vec::new(),
        }
    }

    fn result(job: &str, verdict: Verdict) -> ResultInfo {
        ResultInfo {
            job: job.into(),
            package: job.into(),
            version: Some("1.0-1".into()),
            targets: vec!["gfx1030".into()],
            verdict,
            simulated: false,
            summary: "1 of 2 tests passed".into(),
            worker: "id-of-lab".into(),
            worker_name: Some("lab".into()),
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            received: None,
            bundle: sha256::Digest::of(b""),
            size: 0,
        }
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            workers: vec![worker("lab", Health::Ready, &["rocrand"]), worker("desk", Health::Unfit, &[])],
            running: vec![Running {
                job: job("rocrand", JobState::Running),
                since: Some(Timestamp::from_second(1_000).unwrap()),
                usual_seconds: Some(200),
            }],
            queued: vec![job("hipcub", JobState::Queued)],
            results: vec![result("rocfft", Verdict::Pass), result("rocblas", Verdict::Fail)],
        }
    }

    fn shown(view: &View, width: usize, height: usize) -> String {
        let screen = Screen { colour: false, width: Some(width) };
        let now = Timestamp::from_second(1_100).unwrap();
        let lines = frame(&snapshot(), view, "http://hub:8420", now, screen, height);
        assert!(lines.len() <= height && lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
        lines.join("\n")
    }

    #[test]
    fn everything_of_a_hub_is_on_one_screen() {
        let text = shown(&View::default(), 100, 24);
        let expected = "\
http://hub:8420  2 of 2 workers online, 2 GPUs; 1 job running, 1 queued

WORKER  HEALTH  GPUS     JOBS     SEEN  WHAT
desk    unfit   gfx1030           18m   no GPU answers
lab     ready   gfx1030  rocrand  18m

RUNNING  WORKER  SINCE  PROGRESS            WHAT
rocrand  lab     1m     [=====     ] of 3m  running upstream

QUEUED  AGE  WHY
hipcub  18m  no worker is free

JOB      VERDICT  VERSION  GPU      WORKER  AGE  WHAT
rocfft   pass     1.0-1    gfx1030  lab     18m  1 of 2 tests passed
rocblas  fail     1.0-1    gfx1030  lab     18m  1 of 2 tests passed
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("\nq quit  s sort (name)  / filter  Space look now"), "{text}");
        assert_eq!(text.lines().count(), 24);
    }

    #[test]
    fn what_needs_somebody_comes_first_and_a_filter_leaves_rows_out() {
        let view = View { sort: Sort::State, ..View::default() };
        let text = shown(&view, 100, 24);
        assert!(text.find("rocblas") < text.find("rocfft") && text.find("desk ") < text.find("lab "), "{text}");
        let view = View { filter: "UNFIT".into(), typing: true, ..View::default() };
        let text = shown(&view, 100, 24);
        assert!(text.contains("desk") && !text.contains("rocfft") && text.contains("filter: UNFIT_"), "{text}");
    }

    #[test]
    fn a_small_terminal_shows_what_each_section_begins_with() {
        let text = shown(&View::default(), 60, 15);
        for words in ["WORKER", "… 2 more", "RUNNING", "QUEUED", "JOB", "q quit"] {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
        for (width, height) in [(20, 5), (1, 1), (80, 2)] {
            shown(&View { trouble: Some("it is away".into()), ..View::default() }, width, height);
        }
    }

    #[test]
    fn a_long_queue_is_counted_where_it_does_not_fit() {
        let mut snapshot = snapshot();
        let job = snapshot.queued[0].clone();
        snapshot.queued = (0..40).map(|number| JobInfo { id: format!("hipcub-{number}"), ..job.clone() }).collect();
        let screen = Screen { colour: false, width: Some(80) };
        let lines = frame(&snapshot, &View::default(), "http://hub:8420", Timestamp::UNIX_EPOCH, screen, 40);
        let rows = lines.iter().filter(|line| line.starts_with("hipcub-")).count();
        assert!(rows > 10 && lines.contains(&format!("… {} more", 40 - rows)), "{lines:#?}");
    }

    #[test]
    fn rows_are_taken_off_the_longest_section_and_counted() {
        let section = |rows: usize| (0..=rows).map(|row| row.to_string()).collect::<Vec<_>>();
        let mut sections = vec![section(9), section(2)];
        fit(&mut sections, 11);
        assert_eq!(sections[0], ["0", "1", "2", "3", "4", "… 5 more"]);
        assert_eq!(sections[1].len(), 3);
        fit(&mut sections, 0);
        assert!(sections.iter().all(|section| section.len() == 2), "{sections:?}");
    }

    #[test]
    fn a_pipe_gets_everything_and_no_keys() {
        let lines =
            frame(&snapshot(), &View::default(), "http://hub", Timestamp::UNIX_EPOCH, Screen::default(), usize::MAX);
        assert!(!lines.iter().any(|line| line.contains("q quit")), "{lines:#?}");
    }
}
