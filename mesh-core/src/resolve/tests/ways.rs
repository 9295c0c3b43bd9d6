use super::*;
use crate::service::{LoadBalancing, Mode, Scope};
use crate::workload::Health;

/// What all seeds give together.
fn by_seeds(catalog: &Catalog, request: &Outbound<'_>) -> Vec<Result<Resolution, Refusal>> {
    let mut seen: Vec<Result<Resolution, Refusal>> = Vec::new();
    for seed in 0..500 {
        let way = outbound(catalog, request, seed);
        if !seen.contains(&way) {
            seen.push(way);
        }
    }
    seen
}

#[test]
fn all_ways_are_those_that_seeds_lead_to() {
    let mut near = member(workload("near", "10.0.0.1"), "web");
    near.node = "node-a".into();
    let mut far = member(workload("far", "10.0.0.2"), "web");
    far.node = "node-b".into();
    let mut ill = member(workload("ill", "10.0.0.3"), "web");
    ill.health = Health::Unhealthy;
    let mut guarded = workload("guarded", "10.0.0.4");
    guarded.waypoint = Some(waypoint_reference("wp"));
    let mut lost = workload("lost", "10.0.0.5");
    lost.waypoint = Some(waypoint_reference("nowhere"));
    let proxies = ["10.0.1.1", "10.0.1.2"].map(|ip| member(workload(&format!("wp-{ip}"), ip), "wp"));

    let plain = service("web", "10.96.0.1");
    let mut failover = plain.clone();
    failover.load_balancing =
        LoadBalancing { preference: vec![Scope::Node], mode: Mode::Failover, ..LoadBalancing::default() };
    let mut passing = plain.clone();
    passing.load_balancing.mode = Mode::Passthrough;
    let mut shared = plain.clone();
    shared.waypoint = Some(waypoint_reference("wp"));
    let direct = |ip: &str| GatewayAddress {
        destination: GatewayDestination::Address(Network::default(), ip.parse().unwrap()),
        hbone_port: 15009,
    };
    shared.weighted_waypoints =
        vec![(waypoint_reference("wp"), 1), (direct("10.0.0.2"), 1), (direct("10.0.9.9"), 1), (direct("10.0.0.1"), 0)];

    let mut client = workload("client", "10.0.0.99");
    client.node = "node-a".into();
    for (web, counts) in [(plain, 2), (failover, 1), (passing, 1), (shared, 4)] {
        let mut workloads = vec![near.clone(), far.clone(), ill.clone(), guarded.clone(), lost.clone()];
        workloads.extend(proxies.clone());
        let catalog = catalog(workloads, vec![web, waypoint_service()]);
        for destination in ["10.96.0.1:80", "10.96.0.1:81", "10.0.0.4:80", "10.0.0.5:80", "10.0.0.1:80", "192.0.2.1:1"]
        {
            for unready_waypoint in [UnreadyWaypoint::Refuse, UnreadyWaypoint::Direct] {
                let to = destination.parse().unwrap();
                let request = Outbound { unready_waypoint, ..Outbound::new(&client, &client.network, &to) };
                let all = ways(&catalog, &request);
                let seen = by_seeds(&catalog, &request);
                assert!(all.iter().all(|way| seen.contains(way)), "{destination}: {all:?} {seen:?}");
                assert!(seen.iter().all(|way| all.contains(way)), "{destination}: {all:?} {seen:?}");
                if destination == "10.96.0.1:80" && unready_waypoint == UnreadyWaypoint::Refuse {
                    assert_eq!(all.len(), counts, "{all:?}");
                }
            }
        }
    }
}
