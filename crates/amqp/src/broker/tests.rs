use std::time::Instant;

use super::*;
use crate::fixtures::{Behaviour, Fault, Step, TestBroker, blocked, method_frame, unblocked};
use advice::Advise;

type Failure = Box<dyn std::error::Error>;
type Result<T = ()> = std::result::Result<T, Failure>;

const JOBS: &str = "jobs";
const RESULTS: &str = "results";

/// Time limit for anything that must happen in the end.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(broker: &TestBroker) -> Options {
    Options {
        address: broker.address(),
        tls: TlsOptions::default(),
        name: "rocbed lab1".into(),
        queues: vec![Queue { name: JOBS.into(), max_priority: Some(10) }],
        others: vec![Queue { name: RESULTS.into(), max_priority: None }],
        largest: 5000,
        timeout: Duration::from_secs(10),
    }
}

fn start() -> Result<TestBroker> {
    Ok(TestBroker::start(Behaviour::default())?)
}

fn client(broker: &TestBroker) -> Result<Broker> {
    Ok(Broker::new(options(broker))?)
}

/// A client that soon notices that the broker does not answer.
fn impatient(broker: &TestBroker) -> Result<Broker> {
    let soon = Duration::from_millis(100);
    let timing = Timing { tick: soon, answer: soon, ..Timing::default() };
    Ok(Broker::with_timing(Options { timeout: soon, ..options(broker) }, timing)?)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn take(client: &Broker) -> Result<Message> {
    Ok(client.take()?.ok_or("no message")?)
}

/// Takes messages and answers each, until there are no more. What fails is tried again.
fn work(broker: &TestBroker, client: &Broker) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let message = match client.take() {
            Ok(Some(message)) => message,
            Ok(None) if broker.messages(JOBS).is_empty() && broker.taken() == 0 => return,
            _ => continue,
        };
        let answered = loop {
            match client.answer(message.receipt, RESULTS, &message.body) {
                Ok(()) => break true,
                Err(Error::NotHeld) => break false,
                Err(_) => {}
            }
        };
        if answered {
            drop(client.acknowledge(message.receipt));
        }
    }
    panic!("there are still messages");
}

#[test]
fn a_message_is_answered_and_acknowledged() -> Result {
    use Step::{Acknowledge, Channel, Close, Confirm, Connect, Declare, Get, Login, Open, Publish, Settle};

    let broker = start()?;
    broker.put(JOBS, b"one");
    let client = client(&broker)?;
    assert!(broker.steps().is_empty(), "nothing is wanted yet");
    let message = take(&client)?;
    assert_eq!((message.queue, message.body.as_slice(), message.redelivered), (0, b"one".as_slice(), false));
    assert_eq!((broker.taken(), client.take()?), (1, None));
    client.answer(message.receipt, RESULTS, b"result")?;
    assert_eq!((broker.messages(RESULTS), broker.taken()), (vec![b"result".to_vec()], 1));
    client.acknowledge(message.receipt)?;
    assert_eq!(broker.taken(), 0);
    let expected = [("jobs".to_owned(), Some(10)), ("results".to_owned(), None)];
    assert_eq!(broker.declared(), expected);
    client.close();
    let steps = [Connect, Login, Open, Channel, Declare, Declare, Get, Get, Channel, Confirm, Publish, Acknowledge];
    assert_eq!(broker.steps(), [&steps[..], &[Settle, Close]].concat());
    Ok(())
}

#[test]
fn wherever_the_connection_is_cut_no_message_is_lost() -> Result {
    use Step::{Acknowledge, Channel, Confirm, Connect, Declare, Get, Login, Open, Publish, Settle};
    let garbage = || Fault::Instead(b"HTTP/1.1 400 Bad Request\r\n".to_vec());
    let too_long = || Fault::Instead(vec![1, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    for step in [Connect, Login, Open, Channel, Declare, Get, Confirm, Publish, Acknowledge, Settle] {
        for fault in [
            Fault::CutBefore,
            Fault::CutAfter,
            Fault::CutInside,
            garbage(),
            too_long(),
            Fault::CloseConnection(541, "INTERNAL_ERROR"),
            Fault::CloseChannel(506, "RESOURCE_ERROR"),
        ] {
            let broker = start()?;
            broker.put(JOBS, b"one");
            broker.put(JOBS, b"two");
            broker.fail(step, fault.clone());
            let client = client(&broker)?;
            work(&broker, &client);
            let case = format!("{step:?} {fault:?}");
            assert_eq!((broker.messages(JOBS), broker.taken()), (Vec::new(), 0), "{case}");
            let mut results = broker.messages(RESULTS);
            // The broker may have stored a result, and said so to nobody; its message comes again. It is for the caller
            // to know what was answered.
            if !matches!(step, Publish | Acknowledge | Settle) {
                assert_eq!(results.len(), 2, "{case}");
            }
            results.sort();
            results.dedup();
            assert_eq!(results, [b"one", b"two"], "{case}");
        }
    }
    Ok(())
}

#[test]
fn a_broker_that_falls_silent_is_given_up() -> Result {
    for step in [Step::Connect, Step::Open, Step::Declare, Step::Get, Step::Publish, Step::Settle] {
        let broker = start()?;
        broker.put(JOBS, b"one");
        broker.fail(step, Fault::Silence);
        work(&broker, &impatient(&broker)?);
        assert_eq!((broker.messages(JOBS).len(), broker.taken()), (0, 0), "{step:?}");
        assert!(!broker.messages(RESULTS).is_empty(), "{step:?}");
    }
    Ok(())
}

/// A broker and a client whose heartbeats are short. Both end a connection on which nothing is heard.
fn short_heartbeats(unit: Duration) -> Result<(TestBroker, Broker)> {
    let broker = TestBroker::start(Behaviour { heartbeat: 4, heartbeat_unit: unit, ..Behaviour::default() })?;
    let timing = Timing { heartbeat_unit: unit, tick: unit / 2, ..Timing::default() };
    let client = Broker::with_timing(options(&broker), timing)?;
    Ok((broker, client))
}

#[test]
fn heartbeats_are_sent_while_the_caller_is_busy() -> Result {
    let unit = Duration::from_millis(100);
    let (broker, client) = short_heartbeats(unit)?;
    broker.put(JOBS, b"one");
    let message = take(&client)?;
    // The job: longer than the broker waits for anything to be heard.
    thread::sleep(unit * 4 * 3);
    assert!(client.is_held(message.receipt), "{:?}", client.problem());
    client.answer(message.receipt, RESULTS, b"result")?;
    client.acknowledge(message.receipt)?;
    assert_eq!((broker.taken(), broker.messages(RESULTS).len()), (0, 1));
    Ok(())
}

#[test]
fn a_lost_heartbeat_ends_the_connection_and_the_message_comes_again() -> Result {
    let (broker, client) = short_heartbeats(Duration::from_millis(50))?;
    broker.put(JOBS, b"one");
    let message = take(&client)?;
    // As a network that loses everything: neither side hears the other.
    broker.fail(Step::Declare, Fault::Silence);
    assert!(client.count(&Queue { name: RESULTS.into(), max_priority: None }).is_err());
    until("the connection counts as lost", || !client.is_held(message.receipt));
    assert!(client.problem().is_some());
    until("the broker has it back", || broker.taken() == 0);
    assert!(matches!(client.answer(message.receipt, RESULTS, b"late"), Err(Error::NotHeld)));
    assert!(matches!(client.acknowledge(message.receipt), Err(Error::NotHeld)));
    assert!(take(&client)?.redelivered);
    assert_eq!((client.problem(), broker.messages(RESULTS).len()), (None, 0));
    Ok(())
}

#[test]
fn what_the_broker_does_not_store_is_told_and_can_be_sent_again() -> Result {
    let broker = start()?;
    broker.put(JOBS, b"one");
    let client = client(&broker)?;
    let message = take(&client)?;
    let send = || client.answer(message.receipt, RESULTS, b"result");
    broker.fail(Step::Publish, Fault::Nack);
    assert!(matches!(send(), Err(Error::NotStored)));
    broker.delete(RESULTS);
    assert!(matches!(send(), Err(Error::NoQueue(queue)) if queue == RESULTS));
    for code in [311, 313, 403, 404, 405, 406, 501, 506] {
        broker.fail(Step::Publish, Fault::CloseChannel(code, "NO - for a reason"));
        let error = send().err().ok_or("it is taken")?;
        assert!(
            matches!(&error, Error::Refused { code: told, text } if *told == code && text.contains("reason")),
            "{error}"
        );
        assert!(client.is_held(message.receipt), "{code}");
        assert_eq!(error.help().to_string().contains("permission"), code == 403, "{error}");
    }
    assert_eq!(client.count(&Queue { name: RESULTS.into(), max_priority: None })?, 0);
    send()?;
    client.acknowledge(message.receipt)?;
    assert_eq!((broker.messages(RESULTS).len(), broker.taken()), (1, 0));
    Ok(())
}

#[test]
fn a_closed_channel_for_taking_ends_the_connection() -> Result {
    for code in [403, 404, 405, 406, 540] {
        let broker = start()?;
        broker.put(JOBS, b"one");
        let client = client(&broker)?;
        let message = take(&client)?;
        broker.fail(Step::Get, Fault::CloseChannel(code, "PRECONDITION_FAILED - delivery acknowledgement timed out"));
        assert!(matches!(client.take(), Err(Error::Closed { code: told, .. }) if told == code));
        assert!(!client.is_held(message.receipt) && client.problem().is_some_and(|why| why.contains("timed out")));
        assert!(take(&client)?.redelivered);
    }
    Ok(())
}

#[test]
fn a_connection_that_is_closed_says_why() -> Result {
    for code in [320, 402, 501, 502, 503, 504, 505, 530, 541] {
        let broker = start()?;
        let client = client(&broker)?;
        broker.fail(Step::Get, Fault::CloseConnection(code, "CONNECTION_FORCED - broker forced\u{1b}[2J"));
        let error = client.take().err().ok_or("it goes on")?.to_string();
        assert!(error.contains(&format!("code {code}")) && error.contains("CONNECTION_FORCED"), "{error}");
        assert!(!error.contains('\u{1b}'));
        assert_eq!(client.take()?, None);
    }
    Ok(())
}

#[test]
fn a_queue_of_the_same_name_that_is_another_one_is_told() -> Result {
    let broker = start()?;
    broker.put(JOBS, b"one");
    let other = Queue { name: JOBS.into(), max_priority: Some(5) };
    let client = Broker::new(Options { queues: vec![other], ..options(&broker) })?;
    let error = client.take().err().ok_or("it is taken")?.to_string();
    assert!(error.contains("406") && error.contains("x-max-priority"), "{error}");
    Ok(())
}

#[test]
fn a_slow_broker_is_waited_for() -> Result {
    let broker = start()?;
    broker.put(JOBS, &[b'x'; 1200]);
    let client = client(&broker)?;
    // Byte by byte, so that frames come in pieces.
    broker.fail(Step::Get, Fault::Slowly(Duration::from_micros(10)));
    assert_eq!(take(&client)?.body, [b'x'; 1200]);
    Ok(())
}

#[test]
fn a_message_that_is_too_long_is_cut_and_shows_it() -> Result {
    let broker = start()?;
    broker.put(JOBS, &vec![b'x'; 20_000]);
    broker.put(JOBS, b"next");
    let client = client(&broker)?;
    let message = take(&client)?;
    assert_eq!(message.body.len(), 5001);
    client.reject(message.receipt)?;
    assert_eq!((broker.taken(), broker.rejected().len()), (0, 1));
    assert_eq!(take(&client)?.body, b"next");
    Ok(())
}

#[test]
fn a_large_result_goes_in_small_frames_and_a_larger_one_is_refused() -> Result {
    let broker = TestBroker::start(Behaviour { frame: 4096, largest: 50_000, ..Behaviour::default() })?;
    broker.put(JOBS, b"one");
    let client = client(&broker)?;
    let message = take(&client)?;
    let large: Vec<u8> = (0..60_000_u32).map(|number| number as u8).collect();
    let refused = client.answer(message.receipt, RESULTS, &large);
    assert!(matches!(refused, Err(Error::TooLarge { size: 60_000, most: 50_000 })), "{refused:?}");
    assert!(client.is_held(message.receipt));
    client.answer(message.receipt, RESULTS, &large[..50_000])?;
    assert_eq!(broker.messages(RESULTS), [&large[..50_000]]);
    Ok(())
}

#[test]
fn a_broker_without_memory_is_waited_for() -> Result {
    let broker = start()?;
    let timing = Timing { answer: Duration::from_millis(400), ..Timing::default() };
    let client = Broker::with_timing(options(&broker), timing)?;
    client.publish(RESULTS, b"first")?;
    broker.steps();
    // It says so once it gets something, and confirms it later than anything else may take.
    broker.fail(Step::Publish, Fault::Instead(blocked("low on memory")));
    thread::scope(|scope| -> Result {
        let publishing = scope.spawn(|| client.publish(RESULTS, b"second"));
        until("it is published", || broker.messages(RESULTS).len() == 1 && !broker.steps().is_empty());
        thread::sleep(timing.answer * 2);
        let acknowledged = method_frame(2, 60, 80, &[0, 0, 0, 0, 0, 0, 0, 2, 0]);
        broker.send(&[unblocked(), acknowledged].concat())?;
        publishing.join().map_err(|_| "a panic")??;
        Ok(())
    })?;
    assert!(broker.steps().is_empty(), "it was not sent again");
    // While it is known, nothing is sent.
    broker.send(&blocked("low on disk"))?;
    until("it is heard", || matches!(client.publish(RESULTS, b"x"), Err(Error::Blocked(why)) if why == "low on disk"));
    broker.send(&unblocked())?;
    until("it is over", || client.publish(RESULTS, b"third").is_ok());
    Ok(())
}

#[test]
fn two_clients_share_a_queue() -> Result {
    let broker = start()?;
    for number in 0..20_u8 {
        broker.put(JOBS, &[number]);
    }
    let clients = [client(&broker)?, client(&broker)?];
    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| work(&broker, client));
        }
    });
    let mut results = broker.messages(RESULTS);
    results.sort();
    assert_eq!(results, (0..20).map(|number| vec![number]).collect::<Vec<_>>());
    // One that ends gives back what it has.
    broker.put(JOBS, b"last");
    let message = take(&clients[0])?;
    clients[0].close();
    assert!(!clients[0].is_held(message.receipt) && clients[0].take().is_err());
    until("it is back", || broker.taken() == 0);
    let message = take(&clients[1])?;
    assert!(message.redelivered);
    clients[1].requeue(message.receipt)?;
    assert_eq!((broker.taken(), broker.messages(JOBS).len()), (0, 1));
    Ok(())
}

#[test]
fn a_broker_that_is_killed_and_comes_back_is_found_again() -> Result {
    let broker = start()?;
    broker.put(JOBS, b"one");
    let client = client(&broker)?;
    let message = take(&client)?;
    broker.set_down(true);
    broker.cut();
    assert!(client.answer(message.receipt, RESULTS, b"x").is_err() && client.take().is_err());
    broker.set_down(false);
    work(&broker, &client);
    assert_eq!((broker.messages(RESULTS), broker.taken()), (vec![b"one".to_vec()], 0));
    Ok(())
}

#[test]
fn a_refused_login_is_not_a_lost_connection() -> Result {
    let secret = |text: &str| safetext::Secret::new(text);
    let behaviour = Behaviour { login: ("lab", "secret"), virtual_host: "ci", ..Behaviour::default() };
    let broker = TestBroker::start(behaviour)?;
    let with = |login, host: &str| -> Result<Option<Error>> {
        let address = BrokerAddress { login, virtual_host: host.to_owned(), ..broker.address() };
        Ok(Broker::new(Options { address, ..options(&broker) })?.take().err())
    };
    assert!(with(Some(("lab".into(), secret("secret"))), "ci")?.is_none());
    let error = with(Some(("lab".into(), secret("wrong"))), "ci")?.ok_or("it is taken")?;
    assert!(matches!(&error, Error::Login(_)) && !format!("{error:?}").contains("wrong"), "{error:?}");
    assert!(matches!(with(None, "ci")?, Some(Error::Login(_))), "guest has another password");
    assert!(matches!(with(Some(("lab".into(), secret("secret"))), "x")?, Some(Error::VirtualHost(_))));
    let broker = TestBroker::start(Behaviour { mechanisms: "EXTERNAL", ..Behaviour::default() })?;
    let error = client(&broker)?.take().err().ok_or("it is taken")?;
    assert!(matches!(&error, Error::Login(why) if why.contains("EXTERNAL")), "{error}");
    // Brokers that cannot say so hang up.
    for (step, is_login) in [(Step::Login, true), (Step::Open, false)] {
        let broker = start()?;
        broker.fail(step, Fault::CutBefore);
        let error = client(&broker)?.take().err().ok_or("it goes on")?;
        assert_eq!((matches!(error, Error::Login(_)), matches!(error, Error::VirtualHost(_))), (is_login, !is_login));
    }
    Ok(())
}
