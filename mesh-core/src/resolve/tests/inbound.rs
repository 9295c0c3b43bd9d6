use super::*;
use crate::workload::{ApplicationProtocol, ApplicationTunnel};

#[test]
fn inbound_leads_to_the_tunnels_own_address() {
    let mut local = member(workload("a", "10.0.0.1"), "web");
    let catalog = catalog(vec![local.clone()], vec![service("web", "10.96.0.1"), service("other", "10.96.0.2")]);
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    let ask = |local: &Workload, authority: &str| {
        inbound(&catalog, local, ip, &authority.parse().unwrap()).map(|t| t.to.to_string()).map_err(|r| r.reason)
    };
    assert_eq!(ask(&local, "10.0.0.1:8080").as_deref(), Ok("10.0.0.1:8080"));
    assert_eq!(ask(&local, "10.0.0.2:8080"), Err(Reason::NotThisWorkload));
    assert_eq!(ask(&local, "web.shop.svc.cluster.local:80").as_deref(), Ok("10.0.0.1:8080"));
    assert_eq!(ask(&local, "web.shop.svc.cluster.local:81"), Err(Reason::UnknownService));
    assert_eq!(ask(&local, "other.shop.svc.cluster.local:80"), Err(Reason::UnknownService));
    assert_eq!(ask(&local, "nobody.example.com:80"), Err(Reason::UnknownService));
    local.application_tunnel = Some(ApplicationTunnel { protocol: ApplicationProtocol::None, port: Some(15088) });
    assert_eq!(ask(&local, "10.96.0.7:80").as_deref(), Ok("10.0.0.1:15088"));
}

#[test]
fn inbound_for_others_only_as_their_waypoint() {
    let mut guarded = service("web", "10.96.0.1");
    guarded.waypoint = Some(waypoint_reference("wp"));
    let proxy = member(workload("wp", "10.0.0.9"), "wp");
    let plain = workload("b", "10.0.0.8");
    let catalog = catalog(vec![proxy.clone(), plain.clone()], vec![guarded, waypoint_service()]);
    let authority = "10.96.0.1:80".parse().unwrap();
    assert!(inbound(&catalog, &proxy, "10.0.0.9".parse().unwrap(), &authority).is_ok());
    let refused = inbound(&catalog, &plain, "10.0.0.8".parse().unwrap(), &authority).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no way to 10.96.0.1:80: the tunnel does not end at the destination that it asks for"
    );
}
