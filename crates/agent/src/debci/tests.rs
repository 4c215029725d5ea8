mod lab;
mod once;

use super::*;
use crate::allocation::Allocation;
use protocol::Source;

type Failure = Box<dyn std::error::Error>;
type Result<T = ()> = std::result::Result<T, Failure>;

fn settings(data: &std::path::Path) -> Result<Settings> {
    Ok(Settings {
        address: protocol::BrokerAddress::parse("amqp://user:secret@127.0.0.1:1/x")?,
        tls: amqp::TlsOptions::default(),
        suites: vec!["unstable".into(), "sid".into()],
        architecture: "amd64".into(),
        backend: "lxc".into(),
        api: None,
        when_done: WhenDone::Wait,
        data: data.to_owned(),
        timeouts: Timeouts::of_tests(),
        tell: Arc::new(|_| ()),
        stop: Arc::new(AtomicBool::new(false)),
    })
}

/// Asks for a job for an idle machine with a GPU.
fn claimed(debci: &mut Debci) -> std::result::Result<Claim, Advice> {
    let machine = Machine { gpus: gpu::simulate("gfx1030").expect("a target"), ..Machine::default() };
    debci.claim(&Room::all_of(&Allocation::new(&machine, None)))
}

fn debci(data: &std::path::Path) -> Result<Debci> {
    Ok(Debci::open(settings(data)?).map_err(|error| error.what)?)
}

#[test]
fn the_password_is_not_part_of_the_name() -> Result {
    let data = tempfile::tempdir()?;
    assert_eq!(debci(data.path())?.name(), "amqp://127.0.0.1:1/x");
    Ok(())
}

#[test]
fn a_job_with_a_result_is_not_run_again_after_a_restart() -> Result {
    let data = tempfile::tempdir()?;
    let mut first = debci(data.path())?;
    assert!(!first.is_dealt_with(RunId(7), true));
    first.answered.add(&first.server.clone(), RunId(7))?;
    let mut second = debci(data.path())?;
    assert!(second.is_dealt_with(RunId(7), true) && !second.is_dealt_with(RunId(8), true));
    assert!(!second.is_dealt_with(RunId(7), false), "the server counts from the beginning again");
    Ok(())
}

#[test]
fn a_machine_without_a_gpu_takes_nothing_and_says_so() -> Result {
    let data = tempfile::tempdir()?;
    let mut debci = debci(data.path())?;
    debci.ready(&Machine::default(), &[]).map_err(|error| error.what)?;
    assert!(debci.told.contains("this machine has none") && debci.broker.is_none());
    assert!(matches!(claimed(&mut debci), Ok(Claim::Nothing)));
    Ok(())
}

#[test]
fn a_broker_that_is_away_is_told_and_asked_again() -> Result {
    let data = tempfile::tempdir()?;
    let mut debci = debci(data.path())?;
    let machine = Machine { gpus: gpu::simulate("gfx1030")?, ..Machine::default() };
    debci.ready(&machine, &[]).map_err(|error| error.what)?;
    assert!(matches!(claimed(&mut debci), Ok(Claim::Nothing)));
    assert!(debci.told.starts_with("no jobs from amqp://127.0.0.1:1/x: 127.0.0.1:1 does not answer"), "{}", debci.told);
    Ok(())
}

#[test]
fn a_job_is_for_the_gpu_of_its_queue() -> Result {
    let queues = debci::queues("amd64", "lxc", &gpu::simulate("gfx1030")?);
    let line = JobLine::parse(b"rocrand sid run-id:5")?;
    let job = line.job(queues.first().ok_or("no queue")?.gpu.clone());
    assert_eq!((job.source, job.gpu.to_string().as_str()), (Source::Package("rocrand".into()), "gfx1030"));
    Ok(())
}
