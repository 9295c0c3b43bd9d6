//! What clients ask our discovery server.

use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use mesh_xds::server::machine::Machine;
use mesh_xds::server::{Cache, Change, Entry, sotw};
use mesh_xds::workload::ADDRESS_TYPE;
use prost::Message;

use crate::Target;

pub(crate) const DELTA_REQUEST: Target = Target { name: "delta_request", run: delta_request, seeds: delta_requests };
pub(crate) const STATE_REQUEST: Target = Target { name: "state_request", run: state_request, seeds: state_requests };

/// A type whose answers hold all there is, and one whose answers hold what changed.
const STATE_TYPES: [&str; 2] = [
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
];

fn cache(type_url: &str) -> Cache {
    let (writer, cache) = Cache::new(&[type_url]);
    let entry = Entry::new(vec![1], vec!["/10.0.0.1".into()]).coming_with(vec!["ns/a".into()]);
    writer.apply([(type_url, Change::Put("u".into(), entry))]);
    cache
}

fn delta_request(bytes: &[u8]) {
    let cache = cache(ADDRESS_TYPE);
    let mut machine = Machine::default();
    for part in bytes.split(|byte| *byte == 0xff) {
        let Ok(request) = DeltaDiscoveryRequest::decode(part) else { continue };
        if machine.handle_request(&request).is_err() {
            return;
        }
        let snapshot = cache.live().snapshot();
        let mut answers = 0;
        while machine.poll_response(&snapshot, &[ADDRESS_TYPE], true).is_some() {
            answers += 1;
            assert!(answers < 100, "answers without end");
        }
    }
}

fn delta_requests() -> Vec<Vec<u8>> {
    let request = |subscribe: &[&str], unsubscribe: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        DeltaDiscoveryRequest {
            type_url: ADDRESS_TYPE.into(),
            resource_names_subscribe: names(subscribe),
            resource_names_unsubscribe: names(unsubscribe),
            ..Default::default()
        }
        .encode_to_vec()
    };
    let several = [request(&["*"], &["*"]), request(&["/10.0.0.1", "ns/a"], &[]), request(&[], &["u"])];
    vec![request(&[], &[]), several.join(&0xff)]
}

fn state_request(bytes: &[u8]) {
    let cache = cache(STATE_TYPES[0]);
    let mut machine = sotw::Machine::default();
    for part in bytes.split(|byte| *byte == 0xff) {
        let Ok(request) = DiscoveryRequest::decode(part) else { continue };
        if machine.handle_request(&request).is_err() {
            return;
        }
        let snapshot = cache.live().snapshot();
        let patient = part.len() % 2 == 0;
        let mut answers = 0;
        while let Some(answer) = machine.poll_response(&snapshot, &STATE_TYPES, patient) {
            assert!(answer.resources.len() <= 1, "more than there is");
            assert!(answer.resources.is_empty() || answer.type_url == STATE_TYPES[0]);
            answers += 1;
            assert!(answers < 100, "answers without end");
        }
    }
}

fn state_requests() -> Vec<Vec<u8>> {
    let request = |type_url: &str, names: &[&str], nonce: &str| {
        DiscoveryRequest {
            type_url: type_url.into(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            response_nonce: nonce.into(),
            ..Default::default()
        }
        .encode_to_vec()
    };
    let [cluster, endpoints] = STATE_TYPES;
    let several = [
        request(cluster, &[], ""),
        request(cluster, &["u"], "1"),
        request(endpoints, &["u", "*"], ""),
        request(endpoints, &[], "2"),
    ];
    vec![request(cluster, &["*"], ""), several.join(&0xff)]
}
