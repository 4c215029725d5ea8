use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::action::{Action, Identity, Listen, Phase, Via};
use super::client::Client;
use super::message::Message;
use super::options::{DhcpOptions, MessageKind, code};
use super::timing::Time;
use crate::configuration::Mac;
use crate::event::Loss;

const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const HOUR: u32 = 3600;

fn at(seconds: u64) -> Time {
    Duration::from_secs(seconds)
}

fn client() -> Client {
    Client::new(Identity { mac: MAC, client_id: None, hostname: Some("gpu7".to_owned()) }, 7)
}

/// The one message that is sent, and its transport.
fn sent(actions: &[Action]) -> (Message, Via) {
    let mut sent = actions.iter().filter_map(|action| match action {
        Action::Send { message, via } => Some((Message::parse(message).unwrap(), *via)),
        _ => None,
    });
    let message = sent.next().expect("a message is sent");
    assert!(sent.next().is_none(), "one message is sent");
    message
}

fn answer_from(server: Ipv4Addr, question: &Message, kind: MessageKind, address: Ipv4Addr, lease: u32) -> Vec<u8> {
    let mut options = DhcpOptions::default();
    options.set_kind(kind);
    options.set(code::SERVER, &server.octets());
    if kind != MessageKind::Nak {
        options.set(code::LEASE_TIME, &lease.to_be_bytes());
        options.set(code::SUBNET_MASK, &[255, 255, 255, 0]);
    }
    let yiaddr = if kind == MessageKind::Nak { Ipv4Addr::UNSPECIFIED } else { address };
    Message { reply: true, yiaddr, options, ..question.clone() }.to_bytes()
}

fn answer(question: &Message, kind: MessageKind) -> Vec<u8> {
    answer_from(SERVER, question, kind, ADDRESS, HOUR)
}

/// A client that got a lease at `now`.
fn bound(now: Time, lease: u32) -> Client {
    let mut client = client();
    let (discover, _) = sent(&client.start(now));
    let (request, _) = sent(&client.packet(&answer_from(SERVER, &discover, MessageKind::Offer, ADDRESS, lease), now));
    let actions = client.packet(&answer_from(SERVER, &request, MessageKind::Ack, ADDRESS, lease), now);
    assert!(matches!(actions[..], [Action::Configure(_)]));
    client
}

#[test]
fn an_address_in_four_messages() {
    let mut client = client();
    assert_eq!((client.listen(), client.deadline()), (Listen::Nothing, None));

    let (discover, via) = sent(&client.start(at(0)));
    assert_eq!((discover.options.kind(), via), (Some(MessageKind::Discover), Via::Broadcast));
    assert_eq!(discover.options.get(code::CLIENT_ID), Some(&[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56][..]));
    assert_eq!(discover.options.text(code::HOST_NAME), Some("gpu7"));
    assert_eq!((client.listen(), client.phase()), (Listen::Frames, Phase::Asking));

    let (request, via) = sent(&client.packet(&answer(&discover, MessageKind::Offer), at(0)));
    assert_eq!((request.options.kind(), via), (Some(MessageKind::Request), Via::Broadcast));
    assert_eq!((request.xid, request.ciaddr), (discover.xid, Ipv4Addr::UNSPECIFIED));
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.options.address(code::SERVER), Some(SERVER));

    let actions = client.packet(&answer(&request, MessageKind::Ack), at(0));
    let [Action::Configure(configuration)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((configuration.address, configuration.prefix), (ADDRESS, 24));
    assert_eq!((client.listen(), client.phase(), client.wanting_since()), (Listen::Udp, Phase::Bound, None));
}

#[test]
fn unanswered_questions_are_repeated_for_ever() {
    let mut client = client();
    let (first, _) = sent(&client.start(at(100)));
    let mut now = at(100);
    for _ in 0..50 {
        let next = client.deadline().unwrap();
        assert!(next > now && next.checked_sub(now).unwrap() <= at(32));
        assert!(client.tick(next.checked_sub(Duration::from_millis(1)).unwrap()).is_empty());
        let (again, _) = sent(&client.tick(next));
        assert_eq!(again.xid, first.xid);
        assert_eq!(u64::from(again.secs), next.checked_sub(at(100)).unwrap().as_secs());
        now = next;
    }
    assert_eq!(client.wanting_since(), Some(at(100)));
}

#[test]
fn an_address_whose_lease_ran_out_is_taken_away_when_the_client_stops() {
    let mut client = bound(at(0), HOUR);
    assert_eq!(client.stop(at(2 * u64::from(HOUR))), [Action::Remove(Loss::Expired)]);
    assert_eq!((client.deadline(), client.stop(at(2 * u64::from(HOUR)))), (None, Vec::new()));
}

#[test]
fn an_offer_that_is_not_kept_is_given_up() {
    let mut client = client();
    let (discover, _) = sent(&client.start(at(0)));
    client.packet(&answer(&discover, MessageKind::Offer), at(0));
    let kinds: Vec<_> = (0..4)
        .map(|_| {
            let (message, _) = sent(&client.tick(client.deadline().unwrap()));
            message.options.kind().unwrap()
        })
        .collect();
    assert_eq!(kinds, [MessageKind::Request, MessageKind::Request, MessageKind::Request, MessageKind::Discover]);
}

#[test]
fn a_server_that_takes_its_offer_back_is_asked_again_more_and_more_slowly() {
    let mut client = client();
    let mut now = at(0);
    let mut actions = client.start(now);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let (discover, _) = sent(&actions);
        assert_eq!(discover.options.kind(), Some(MessageKind::Discover));
        let (request, _) = sent(&client.packet(&answer(&discover, MessageKind::Offer), now));
        actions = client.packet(&answer(&request, MessageKind::Nak), now);
        let before = now;
        if actions.is_empty() {
            now = client.deadline().unwrap();
            actions = client.tick(now);
        }
        pauses.push(now.checked_sub(before).unwrap().as_secs());
    }
    assert_eq!(pauses[0], 0);
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]) && pauses[5] >= 24, "{pauses:?}");
}

#[test]
fn answers_to_others_are_ignored() {
    let mut client = client();
    let (discover, _) = sent(&client.start(at(0)));
    let mut other = discover.clone();
    other.xid ^= 1;
    assert!(client.packet(&answer(&other, MessageKind::Offer), at(0)).is_empty());
    other = discover.clone();
    other.chaddr = Mac::default();
    assert!(client.packet(&answer(&other, MessageKind::Offer), at(0)).is_empty());
    // Our own request, an answer to a request that was not sent, and refusals without a request.
    assert!(client.packet(&discover.to_bytes(), at(0)).is_empty());
    assert!(client.packet(&answer(&discover, MessageKind::Ack), at(0)).is_empty());
    assert!(client.packet(&answer(&discover, MessageKind::Nak), at(0)).is_empty());
    // While one server's offer is requested, another server's message does not count.
    let (request, _) = sent(&client.packet(&answer(&discover, MessageKind::Offer), at(0)));
    let other = Ipv4Addr::new(10, 0, 2, 66);
    assert!(client.packet(&answer_from(other, &request, MessageKind::Nak, ADDRESS, HOUR), at(0)).is_empty());
    assert!(client.packet(&answer_from(other, &request, MessageKind::Ack, ADDRESS, HOUR), at(0)).is_empty());
    assert!(!client.packet(&answer(&request, MessageKind::Ack), at(0)).is_empty());
}

#[test]
fn a_lease_is_renewed_at_half_time_by_the_server() {
    let mut client = bound(at(0), HOUR);
    let renew = client.deadline().unwrap();
    assert!((at(1710)..=at(1800)).contains(&renew), "{renew:?}");
    let (request, via) = sent(&client.tick(renew));
    assert_eq!((request.options.kind(), request.ciaddr, via), (Some(MessageKind::Request), ADDRESS, Via::Udp(SERVER)));
    // RFC 2131 table 5: neither the address as an option nor the server.
    assert_eq!((request.options.get(code::REQUESTED_ADDRESS), request.options.get(code::SERVER)), (None, None));
    assert_eq!(client.phase(), Phase::Renewing);
    let actions = client.packet(&answer(&request, MessageKind::Ack), renew + at(1));
    assert!(matches!(actions[..], [Action::Renew(_)]));
    // The lease's time starts at the request.
    let next = client.deadline().unwrap();
    assert!((renew + at(1710)..=renew + at(1800)).contains(&next), "{next:?}");
}

#[test]
fn a_lease_that_the_server_does_not_renew_is_renewed_by_another() {
    let mut client = bound(at(0), HOUR);
    let mut last = sent(&client.tick(client.deadline().unwrap()));
    while last.1 == Via::Udp(SERVER) {
        last = sent(&client.tick(client.deadline().unwrap()));
    }
    let (request, via) = last;
    assert_eq!((via, client.phase()), (Via::Udp(Ipv4Addr::BROADCAST), Phase::Rebinding));
    let other = Ipv4Addr::new(10, 0, 2, 66);
    let actions = client.packet(&answer_from(other, &request, MessageKind::Ack, ADDRESS, HOUR), at(3200));
    assert!(matches!(actions[..], [Action::Renew(_)]));
    let (_, via) = sent(&client.tick(client.deadline().unwrap()));
    assert_eq!(via, Via::Udp(other));
}

#[test]
fn a_lease_that_nobody_renews_ends_and_the_search_begins_again() {
    for lease in [2, 30, 120, HOUR, 86_400 * 30] {
        let mut client = bound(at(0), lease);
        let mut questions = 0;
        let lost = loop {
            let now = client.deadline().unwrap();
            let actions = client.tick(now);
            if let [Action::Remove(why), Action::Send { .. }] = actions[..] {
                assert_eq!((why, client.phase()), (Loss::Expired, Phase::Asking));
                break now;
            }
            questions += 1;
            assert!(questions < 200);
        };
        assert_eq!(lost, at(lease.into()));
        assert_eq!(client.wanting_since(), Some(lost));
        assert!(questions >= 2, "a lease of {lease} s was asked for {questions} times");
    }
}

#[test]
fn an_infinite_lease_needs_nothing() {
    assert_eq!(bound(at(5), u32::MAX).deadline(), None);
}

#[test]
fn a_refused_renewal_takes_the_address_away() {
    let mut client = bound(at(0), HOUR);
    let (request, _) = sent(&client.tick(client.deadline().unwrap()));
    let actions = client.packet(&answer(&request, MessageKind::Nak), at(1801));
    assert_eq!(actions[0], Action::Remove(Loss::Refused));
    let (discover, _) = sent(&actions);
    assert_eq!(discover.options.kind(), Some(MessageKind::Discover));
    assert_ne!(discover.xid, request.xid);
}

#[test]
fn another_address_at_renewal_is_set_up_anew() {
    let mut client = bound(at(0), HOUR);
    let (request, _) = sent(&client.tick(client.deadline().unwrap()));
    let other = Ipv4Addr::new(10, 0, 2, 99);
    let actions = client.packet(&answer_from(SERVER, &request, MessageKind::Ack, other, HOUR), at(1801));
    assert!(matches!(&actions[..], [Action::Configure(configuration)] if configuration.address == other));
}

#[test]
fn a_cable_that_was_out_for_a_moment() {
    let mut client = bound(at(0), HOUR);
    assert_eq!(client.pause(), [Action::Remove(Loss::Carrier)]);
    assert_eq!((client.deadline(), client.phase()), (None, Phase::Idle));
    let (request, via) = sent(&client.start(at(60)));
    assert_eq!((request.options.kind(), via), (Some(MessageKind::Request), Via::Broadcast));
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!((request.ciaddr, request.options.get(code::SERVER)), (Ipv4Addr::UNSPECIFIED, None));
    assert!(matches!(client.packet(&answer(&request, MessageKind::Ack), at(60))[..], [Action::Configure(_)]));
}

#[test]
fn the_address_of_the_program_before_is_taken_over_in_one_exchange() {
    let mut client = client().after(ADDRESS);
    let (request, via) = sent(&client.start(at(0)));
    assert_eq!((request.options.kind(), via), (Some(MessageKind::Request), Via::Broadcast));
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.options.address(code::SERVER), None, "no server was chosen");
    assert!(matches!(client.packet(&answer(&request, MessageKind::Ack), at(0))[..], [Action::Configure(_)]));
    assert_eq!(client.phase(), Phase::Bound);
}

#[test]
fn an_address_that_no_server_knows_any_more_is_given_up() {
    let mut client = client().after(ADDRESS);
    let (request, _) = sent(&client.start(at(0)));
    let (discover, _) = sent(&client.packet(&answer(&request, MessageKind::Nak), at(0)));
    assert_eq!(discover.options.kind(), Some(MessageKind::Discover));
    assert_eq!(discover.options.address(code::REQUESTED_ADDRESS), None);
}

#[test]
fn a_cable_that_was_put_into_another_network() {
    // A server there refuses the old address.
    let mut client = bound(at(0), HOUR);
    client.pause();
    let (request, _) = sent(&client.start(at(60)));
    let (discover, _) = sent(&client.packet(&answer(&request, MessageKind::Nak), at(60)));
    assert_eq!(discover.options.kind(), Some(MessageKind::Discover));
    // Or no server there knows it.
    let mut client = bound(at(0), HOUR);
    client.pause();
    client.start(at(60));
    let kinds: Vec<_> =
        (0..2).map(|_| sent(&client.tick(client.deadline().unwrap())).0.options.kind().unwrap()).collect();
    assert_eq!(kinds, [MessageKind::Request, MessageKind::Discover]);
    // Or the carrier was gone for too long.
    let mut client = bound(at(0), HOUR);
    client.pause();
    assert_eq!(sent(&client.start(at(3600))).0.options.kind(), Some(MessageKind::Discover));
}

#[test]
fn an_address_is_given_back() {
    let mut client = bound(at(0), HOUR);
    let actions = client.stop(at(10));
    let (release, via) = sent(&actions);
    assert_eq!((release.options.kind(), release.ciaddr), (Some(MessageKind::Release), ADDRESS));
    assert_eq!(release.options.address(code::SERVER), Some(SERVER));
    assert_eq!(via, Via::Parting { source: ADDRESS, server: SERVER });
    assert_eq!(actions[1], Action::Remove(Loss::Released));
    assert!(client.stop(at(11)).is_empty());
    // Without an address nothing is released.
    let mut client = self::client();
    client.start(at(0));
    assert!(client.stop(at(1)).is_empty());
}

/// An event for a client.
#[derive(Debug, Clone)]
enum Happening {
    Garbage(Vec<u8>),
    Answer { kind: u8, lease: u32, address: u32, server: u32, changed: Option<(usize, u8)> },
    Passes(u32),
    Deadline,
    Carrier(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Happening::Garbage),
        (1_u8..8, 0_u32..500, any::<u32>(), any::<u32>(), prop::option::weighted(0.2, (0_usize..300, any::<u8>())))
            .prop_map(|(kind, lease, address, server, changed)| Happening::Answer {
                kind,
                lease,
                address,
                server,
                changed
            }),
        (0_u32..1000).prop_map(Happening::Passes),
        Just(Happening::Deadline),
        any::<bool>().prop_map(Happening::Carrier),
    ]
}

proptest! {
    /// In any order of events: an address is there exactly between Configure and Remove, never longer than its lease,
    /// and is released at the end; and a started client without an address always has something to wait for.
    #[test]
    fn whatever_happens(seed: u64, happenings in prop::collection::vec(happening(), 0..60)) {
        let mut client = Client::new(Identity { mac: MAC, client_id: None, hostname: None }, seed);
        let mut now = at(1);
        let mut last: Option<Message> = None;
        let mut address: Option<Ipv4Addr> = None;
        let mut expiry = Time::MAX;
        let mut carrier = false;
        for happening in happenings {
            let actions = match happening {
                Happening::Garbage(bytes) => client.packet(&bytes, now),
                Happening::Answer { kind, lease, address, server, changed } => {
                    let Some(question) = &last else { continue };
                    let kinds = [MessageKind::Offer, MessageKind::Ack, MessageKind::Ack, MessageKind::Nak, MessageKind::Offer, MessageKind::Ack, MessageKind::Discover];
                    let kind = kinds[usize::from(kind) % kinds.len()];
                    let server = if server % 4 == 0 { Ipv4Addr::from(server) } else { SERVER };
                    let address = if address % 4 == 0 { Ipv4Addr::from(address) } else { ADDRESS };
                    // Now and then an infinite lease.
                    let lease = if lease == 499 { u32::MAX } else { lease };
                    let mut bytes = answer_from(server, question, kind, address, lease);
                    if let Some((at, value)) = changed {
                        let at = at % bytes.len();
                        bytes[at] = value;
                    }
                    client.packet(&bytes, now)
                }
                Happening::Passes(seconds) => {
                    // A caller calls at the deadline.
                    now = client.deadline().map_or(Time::MAX, |deadline| deadline.max(now)).min(now + at(seconds.into()));
                    client.tick(now)
                }
                Happening::Deadline => {
                    now = client.deadline().map_or(now, |deadline| deadline.max(now));
                    client.tick(now)
                }
                Happening::Carrier(true) if !carrier => {
                    carrier = true;
                    client.start(now)
                }
                Happening::Carrier(false) if carrier => {
                    carrier = false;
                    client.pause()
                }
                Happening::Carrier(_) => continue,
            };
            for action in actions {
                match action {
                    Action::Send { message, via } => {
                        let message = Message::parse(&message).unwrap();
                        prop_assert_eq!(matches!(via, Via::Udp(_)), address.is_some());
                        prop_assert_eq!(message.ciaddr, address.unwrap_or(Ipv4Addr::UNSPECIFIED));
                        last = Some(message);
                    }
                    Action::Configure(configuration) => {
                        prop_assert_ne!(address, Some(configuration.address));
                        address = Some(configuration.address);
                        expiry = now.saturating_add(configuration.lifetime.unwrap_or(Time::MAX));
                    }
                    Action::Renew(configuration) => {
                        prop_assert_eq!(address, Some(configuration.address));
                        expiry = now.saturating_add(configuration.lifetime.unwrap_or(Time::MAX));
                    }
                    Action::Remove(_) => prop_assert!(address.take().is_some()),
                }
            }
            prop_assert!(address.is_none() || now < expiry);
            prop_assert_eq!(address.is_some(), client.listen() == Listen::Udp);
            prop_assert_eq!(carrier, client.listen() != Listen::Nothing);
            prop_assert_eq!(carrier && address.is_none(), client.wanting_since().is_some());
            if carrier && address.is_none() {
                prop_assert!(client.deadline().is_some_and(|deadline| deadline > now));
            }
        }
        let given_back = client.stop(now).contains(&Action::Remove(Loss::Released));
        prop_assert_eq!((given_back, client.listen()), (address.is_some(), Listen::Nothing));
    }
}
