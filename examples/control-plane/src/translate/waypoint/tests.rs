//! Golden translations: a directory of manifests and, beside it, what its waypoint is programmed with. With
//! `MESH_GOLDEN_WRITE=1` in the environment the expected texts are written anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use mesh_core::balance::{Discovery, LocalityEndpoints};
use mesh_core::listener::{FilterChain, HttpManager, ListenerKind, RouteSource, Terminal};
use mesh_core::name::parse_trust_domain;
use mesh_core::route::{Action, ClusterChoice, Route, RouteTable};
use mesh_xds::envoy::cluster::decode_cluster;
use mesh_xds::envoy::endpoint::decode_assignment;
use mesh_xds::envoy::listener::decode_listener;

use super::*;
use crate::admission::admit;
use crate::source::dir;
use crate::translate::{Place, Waypoints};

pub(in crate::translate) fn place() -> Place {
    Place::new(parse_trust_domain("cluster.local").unwrap(), "c1")
}

/// The resources of the one waypoint of a directory.
fn of(directory: &Path, locality: &Locality) -> Resources {
    let (world, _) = admit(&dir::read(directory).unwrap()).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let place = place();
    let waypoints = Waypoints::new(&world, &place);
    let key = waypoints.keys().next().unwrap();
    waypoints.resources(key, locality)
}

fn golden_root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-waypoint")
}

fn shown(resources: &Resources) -> String {
    let mut text = String::new();
    for listener in &resources.listeners {
        let ListenerKind::Internal(internal) = &listener.kind else { panic!("{listener:?}") };
        writeln!(text, "listener {} {:?}", listener.name, internal.inspectors).unwrap();
        for chain in &internal.chains {
            show_chain(&mut text, chain);
        }
    }
    show_clusters(&mut text, &resources.clusters, &resources.assignments);
    text
}

/// Clusters, and the endpoints of those that discover them.
pub(in crate::translate) fn show_clusters(text: &mut String, clusters: &[Cluster], assignments: &[Assignment]) {
    for cluster in clusters {
        writeln!(text, "cluster {}", cluster.name).unwrap();
        show_discovery(text, &cluster.discovery);
        writeln!(text, "  {:?} {:?} panic {}%", cluster.policy, cluster.protocol, cluster.panic_threshold).unwrap();
        let circuit = &cluster.circuit.default;
        writeln!(
            text,
            "  connect within {:?}, limits {}/{}/{} {:?}, {:?} requests per connection",
            cluster.connect_timeout,
            circuit.max_connections,
            circuit.max_pending_requests,
            circuit.max_requests,
            circuit.retries,
            cluster.max_requests_per_connection
        )
        .unwrap();
        if let Some(outlier) = &cluster.outlier {
            writeln!(text, "  outlier after {} within {:?}", outlier.consecutive_5xx, outlier.interval).unwrap();
        }
        if let Some(tls) = &cluster.tls {
            writeln!(text, "  tls").unwrap();
            show_value(text, "    ", tls);
        }
    }
    for assignment in assignments {
        writeln!(text, "endpoints {}", assignment.cluster).unwrap();
        show_endpoints(text, &assignment.localities, ToString::to_string);
    }
}

fn show_discovery(text: &mut String, discovery: &Discovery) {
    match discovery {
        Discovery::Eds { .. } => {}
        Discovery::StrictDns(dns) => {
            writeln!(text, "  hosts in DNS, {:?}, asked each {:?}", dns.family, dns.refresh).unwrap();
            show_endpoints(text, &dns.hosts.localities, |host| format!("{}:{}", host.name, host.port));
        }
        Discovery::TunnelToOriginalDst(identities) => {
            writeln!(text, "  tunnels to where connections were meant for").unwrap();
            for (address, identity) in identities {
                writeln!(text, "    {address} through {identity}").unwrap();
            }
        }
        other => writeln!(text, "  {other:?}").unwrap(),
    }
}

fn show_endpoints<A>(text: &mut String, localities: &[LocalityEndpoints<A>], address: impl Fn(&A) -> String) {
    for locality in localities {
        let (at, weight) = (locality.locality.to_string(), locality.weight);
        writeln!(text, "  priority {} at {at:?} weight {weight:?}", locality.priority).unwrap();
        for endpoint in &locality.endpoints {
            let (weight, workload) = (endpoint.weight, &endpoint.workload);
            let identities = endpoint.tunnel.iter().flat_map(|tunnel| &tunnel.identities);
            let tunnel = identities.map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            let via = endpoint.tunnel.as_ref().and_then(|tunnel| tunnel.via);
            let via = via.map(|via| format!(" by {via}")).unwrap_or_default();
            let through = if endpoint.tunnel.is_some() { &format!("{tunnel}{via}") } else { "nothing" };
            let (address, health) = (address(&endpoint.address), endpoint.health);
            writeln!(text, "    {address} {health:?} weight {weight} {workload} through {through}").unwrap();
        }
    }
}

/// A value, line by line.
fn show_value(text: &mut String, indent: &str, value: &impl std::fmt::Debug) {
    for line in format!("{value:#?}").lines() {
        writeln!(text, "{indent}{line}").unwrap();
    }
}

fn show_chain(text: &mut String, chain: &FilterChain) {
    let ranges: Vec<_> = chain.matcher.destination_ranges.iter().map(ToString::to_string).collect();
    let port = chain.matcher.destination_port.map_or_else(|| "any".to_owned(), |port| port.to_string());
    let protocols: Vec<_> = chain.matcher.application_protocols.iter().map(ToString::to_string).collect();
    writeln!(text, "chain {} for {}:{port} {}", chain.name, ranges.join(","), protocols.join(",")).unwrap();
    show_terminal(text, chain);
}

/// What a chain does.
pub(in crate::translate) fn show_terminal(text: &mut String, chain: &FilterChain) {
    for rbac in &chain.rbac {
        writeln!(text, "  rbac").unwrap();
        show_value(text, "    ", &rbac.filter);
    }
    match &chain.terminal {
        Terminal::Tcp(proxy) => {
            writeln!(text, "  {:?} idle {:?} at most {:?}", proxy.target, proxy.idle_timeout, proxy.max_duration)
                .unwrap();
        }
        Terminal::Http(manager) => show_manager(text, manager),
        Terminal::Close => writeln!(text, "  close").unwrap(),
    }
}

fn show_manager(text: &mut String, manager: &HttpManager) {
    for filter in &manager.filters {
        writeln!(text, "  filter {}", filter.name).unwrap();
        show_value(text, "    ", &filter.kind);
    }
    match &manager.routes {
        RouteSource::Inline(table) => show_table(text, table),
        RouteSource::Rds(name) => writeln!(text, "  routes {name}").unwrap(),
    }
}

/// Routes.
pub(in crate::translate) fn show_table(text: &mut String, table: &RouteTable) {
    for host in &table.config().hosts {
        for Route { name, matcher, action, headers, filters, .. } in &host.routes {
            writeln!(text, "  route {name}").unwrap();
            let asked = [
                format!("{:?}", matcher.path),
                if matcher.headers.is_empty() { String::new() } else { format!("headers {:?}", matcher.headers) },
                if matcher.peer.is_empty() { String::new() } else { format!("peer {:?}", matcher.peer) },
                if matcher.grpc { "grpc".to_owned() } else { String::new() },
                if matcher.query.is_empty() { String::new() } else { format!("query {:?}", matcher.query) },
            ];
            let asked: Vec<_> = asked.into_iter().filter(|part| !part.is_empty()).collect();
            writeln!(text, "    if {}", asked.join(" and ")).unwrap();
            if *headers != mesh_core::route::HeaderEdits::default() {
                writeln!(text, "    edits {headers:?}").unwrap();
            }
            for (name, setting) in filters {
                writeln!(text, "    filter {name} {setting:?}").unwrap();
            }
            match action {
                Action::Forward(forward) => {
                    show_choice(text, &forward.cluster);
                    writeln!(
                        text,
                        "    within {:?} retry {:?}",
                        forward.timeout,
                        forward.retry.as_ref().map(|retry| (retry.retries, retry.per_try_timeout, &retry.status_codes))
                    )
                    .unwrap();
                    for (what, shown) in [
                        ("host", forward.host.as_ref().map(|host| format!("{host:?}"))),
                        ("path", forward.path.as_ref().map(|path| format!("{path:?}"))),
                        ("hash", (!forward.hash.is_empty()).then(|| format!("{:?}", forward.hash))),
                        ("mirrors", (!forward.mirrors.is_empty()).then(|| format!("{:?}", forward.mirrors))),
                    ] {
                        if let Some(shown) = shown {
                            writeln!(text, "    {what} {shown}").unwrap();
                        }
                    }
                }
                other => writeln!(text, "    {other:?}").unwrap(),
            }
        }
    }
}

fn show_choice(text: &mut String, choice: &ClusterChoice) {
    let ClusterChoice::Weighted(weighted) = choice else { return writeln!(text, "    to {choice:?}").unwrap() };
    for cluster in &weighted.clusters {
        writeln!(text, "    to {:?} weight {}", cluster.cluster, cluster.weight).unwrap();
        if cluster.headers != mesh_core::route::HeaderEdits::default() {
            writeln!(text, "      edits {:?}", cluster.headers).unwrap();
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch between comparing and writing")]
fn golden() {
    let mut count = 0;
    for entry in fs::read_dir(golden_root()).unwrap() {
        let directory = entry.unwrap().path();
        let resources = of(&directory, &Locality::new("eu", "a", ""));
        let text = shown(&resources);
        let expected = directory.join("expected.txt");
        if std::env::var("MESH_GOLDEN_WRITE").is_ok() {
            fs::write(&expected, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&expected).unwrap_or_default(), text, "{}", directory.display());
        count += 1;
    }
    assert!(count >= 3, "{count} topics");
}

#[test]
fn what_is_sent_is_what_is_meant() {
    for entry in fs::read_dir(golden_root()).unwrap() {
        let resources = of(&entry.unwrap().path(), &Locality::default());
        let [(_, clusters), (_, assignments), (_, listeners)] = resources.encode(Flavour::Mesh, &place().trust_domain);
        for (listener, (_, bytes)) in resources.listeners.iter().zip(&listeners) {
            let decoded = decode_listener(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (listener, 0));
        }
        for (cluster, (_, bytes)) in resources.clusters.iter().zip(&clusters) {
            let decoded = decode_cluster(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (cluster, 0));
        }
        for (assignment, (_, bytes)) in resources.assignments.iter().zip(&assignments) {
            let decoded = decode_assignment(bytes).unwrap();
            assert_eq!((&decoded.value, decoded.warnings.len()), (assignment, 0));
        }
        assert_eq!(resources.assignments.iter().map(|assignment| assignment.validate()).find(Result::is_err), None);
    }
}
