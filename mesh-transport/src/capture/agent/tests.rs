use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::machine::{Added, Machine};
use super::*;

fn info(name: &str) -> PodInfo {
    PodInfo { name: name.to_owned(), namespace: "shop".to_owned(), service_account: "web".to_owned() }
}

#[test]
fn bytes_on_the_wire() {
    let add = Request::Add { uid: "u".to_owned(), info: info("p") };
    let expected = b"\x0a\x13\x0a\x01u\x12\x0e\x0a\x01p\x12\x04shop\x1a\x03web";
    assert_eq!(add.encode(), expected, "field numbers of Istio's zds.proto");
    // The uid of a deletion is field 2.
    assert_eq!(Request::Delete { uid: "u".to_owned() }.encode(), b"\x12\x03\x12\x01u");
    assert_eq!(Request::Keep { uid: "u".to_owned() }.encode(), b"\x2a\x03\x0a\x01u");
    assert_eq!(Request::SnapshotSent.encode(), b"\x1a\x00");
    assert_eq!(encode_hello(), b"\x08\x01");
    assert_eq!(encode_ack(""), b"\x0a\x00");
    assert_eq!(decode_ack(&encode_ack("no")).unwrap(), Err("no".to_owned()));
    assert!(encode_ack(&"ü".repeat(5000)).len() < MAX_PACKET);
}

#[test]
fn packets_that_are_refused() {
    for (packet, error) in [
        (&b""[..], Error::Empty),
        (b"\x0a\x00", Error::Missing("workload_info")),
        (b"\x0a\x03\x0a\x01u", Error::Missing("workload_info")),
        (b"\x0a\x07\x0a\x01u\x12\x02\x0a\x00", Error::Missing("workload_info.name")),
        (b"\x12\x00", Error::Missing("uid")),
        (b"\x2a\x00", Error::Missing("uid")),
    ] {
        assert_eq!(Request::decode(packet), Err(error), "{packet:?}");
    }
    assert!(matches!(Request::decode(b"\xff\xff"), Err(Error::Malformed(_))));
    assert_eq!(decode_hello(b""), Err(Error::Version(0)));
}

#[test]
fn additions_are_idempotent_and_follow_the_namespace() {
    let mut machine = Machine::new();
    machine.handle_connected();
    assert_eq!(machine.handle_add("u", &info("p"), &1), Added::Start);
    assert!(!machine.is_ready(), "not started, no snapshot");
    machine.handle_started("u", false);
    assert_eq!(machine.pending().count(), 1);
    assert_eq!(machine.handle_add("u", &info("p"), &1), Added::Start, "a pending pod is tried at once");
    machine.handle_started("u", true);
    assert_eq!(machine.handle_add("u", &info("p"), &1), Added::Known);
    assert_eq!(machine.handle_add("u", &info("p"), &2), Added::Replace);
    machine.handle_started("u", true);
    assert_eq!(machine.handle_snapshot_sent(), Ok(vec![]));
    assert!(machine.is_ready());
    assert_eq!(machine.handle_snapshot_sent(), Err(Error::AfterSnapshot("a second snapshot")));
    assert_eq!(machine.handle_keep("u"), Err(Error::AfterSnapshot("a pod to keep")));
    assert!(machine.handle_delete("u"));
    assert!(!machine.handle_delete("u"));
}

#[derive(Debug, Clone)]
enum Event {
    Connected,
    Add(u8, u8),
    Keep(u8),
    Delete(u8),
    Snapshot,
}

proptest! {
    /// Whatever an agent says, the proxy serves exactly what the last complete list and what came after it say.
    #[test]
    fn serves_what_was_said(events in prop::collection::vec(prop_oneof![
        Just(Event::Connected),
        (0..4_u8, 0..3_u8).prop_map(|(uid, namespace)| Event::Add(uid, namespace)),
        (0..4_u8).prop_map(Event::Keep),
        (0..4_u8).prop_map(Event::Delete),
        Just(Event::Snapshot),
    ], 0..60)) {
        let mut machine = Machine::new();
        let mut served = BTreeMap::new();
        let mut listed: Option<BTreeSet<u8>> = None;
        for event in events {
            match event {
                Event::Connected => {
                    machine.handle_connected();
                    listed = Some(BTreeSet::new());
                }
                Event::Add(uid, namespace) => {
                    let added = machine.handle_add(&uid.to_string(), &info("p"), &namespace);
                    prop_assert_eq!(added == Added::Known, served.get(&uid) == Some(&namespace));
                    machine.handle_started(&uid.to_string(), true);
                    served.insert(uid, namespace);
                    if let Some(listed) = &mut listed { listed.insert(uid); }
                }
                Event::Keep(uid) => {
                    prop_assert_eq!(machine.handle_keep(&uid.to_string()).is_ok(), listed.is_some());
                    if let Some(listed) = &mut listed { listed.insert(uid); }
                }
                Event::Delete(uid) => {
                    prop_assert_eq!(machine.handle_delete(&uid.to_string()), served.remove(&uid).is_some());
                    if let Some(listed) = &mut listed { listed.remove(&uid); }
                }
                Event::Snapshot => {
                    let gone = machine.handle_snapshot_sent();
                    prop_assert_eq!(gone.is_ok(), listed.is_some());
                    if let Some(listed) = listed.take() {
                        served.retain(|uid, _| listed.contains(uid));
                    }
                }
            }
            let held: Vec<_> = machine.pods().map(|(uid, ..)| uid.to_owned()).collect();
            let expected: Vec<_> = served.keys().map(ToString::to_string).collect();
            prop_assert_eq!(held, expected);
        }
    }

    #[test]
    fn decoding_gives_what_was_encoded(uid in "[a-z0-9-]{1,40}", name in "[a-z]{1,20}") {
        for request in [
            Request::Add { uid: uid.clone(), info: info(&name) },
            Request::Keep { uid: uid.clone() },
            Request::Delete { uid: uid.clone() },
        ] {
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn no_packet_panics(packet: Vec<u8>) {
        let _ = (Request::decode(&packet), decode_hello(&packet), decode_ack(&packet));
    }
}
