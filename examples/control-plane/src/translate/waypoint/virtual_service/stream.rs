//! What a VirtualService says of TLS and TCP, as far as a waypoint can do it: connections of one port of a service go to other
//! destinations, by weight. A server name counts where it is exactly the service's.

use mesh_core::gateway::{Backend, INVALID_BACKEND};
use mesh_core::listener::{TcpTarget, WeightedTarget};
use mesh_core::name::Text;

use super::source::{StreamMatch, StreamRoute, VirtualServiceSpec, is_for_mesh};
use super::{Resolve, source};
use crate::finding::Faults;

/// Where connections to a port of a service go, if one of its objects says so. Those that are TLS go by what is said of TLS
/// first.
pub(in crate::translate::waypoint) fn target(
    spec: &VirtualServiceSpec,
    host: &str,
    port: u16,
    is_tls: bool,
    resolve: &mut Resolve<'_>,
) -> Option<TcpTarget> {
    if !is_for_mesh(&spec.gateways) {
        return None;
    }
    let here = |one: &StreamMatch| {
        one.unknowable().is_none() && one.port.is_none_or(|wanted| wanted == port) && is_for_mesh(&one.gateways)
    };
    let tls = |one: &StreamMatch| here(one) && one.sni_hosts.iter().any(|name| name == host);
    let tcp = |one: &StreamMatch| here(one) && one.sni_hosts.is_empty();
    let by_name = || spec.tls.iter().find(|route| route.r#match.iter().any(tls));
    let by_port = || spec.tcp.iter().find(|route| route.r#match.is_empty() || route.r#match.iter().any(tcp));
    let route = is_tls.then(by_name).flatten().or_else(by_port)?;
    let mut name = |to: &source::Destination| -> Text {
        match resolve(to) {
            Backend::Cluster(name) => name,
            Backend::Invalid => INVALID_BACKEND.into(),
        }
    };
    match route.route.as_slice() {
        [] => None,
        [one] => Some(TcpTarget::Cluster(name(&one.destination))),
        several => {
            let with_share = several.iter().filter_map(|to| Some((to, to.weight.filter(|weight| *weight > 0)?)));
            let targets = with_share.map(|(to, weight)| WeightedTarget { cluster: name(&to.destination), weight });
            Some(TcpTarget::Weighted(targets.collect()))
        }
    }
}

/// What is wrong with these parts by themselves.
pub(super) fn faults(spec: &VirtualServiceSpec, faults: &mut Faults<'_>) {
    faults.each("tls", &spec.tls, |faults, route| {
        route_faults(route, faults);
        if route.r#match.is_empty() {
            faults.error("match", "is missing; TLS is matched by `sniHosts`");
        }
        faults.each("match", &route.r#match, |faults, one| {
            match_faults(one, faults);
            if one.sni_hosts.is_empty() {
                faults.error("sniHosts", "is empty");
            }
            let others = one.sni_hosts.iter().filter(|name| !spec.hosts.contains(name));
            for name in others {
                let message = "is none of the hosts as they are written here; only a whole host of a service counts";
                faults.warning("sniHosts", format_args!("`{name}` {message}"));
            }
        });
    });
    faults.each("tcp", &spec.tcp, |faults, route| {
        route_faults(route, faults);
        faults.each("match", &route.r#match, |faults, one| {
            match_faults(one, faults);
            if !one.sni_hosts.is_empty() {
                faults.error("sniHosts", "belongs to `tls`");
            }
        });
    });
}

fn route_faults(route: &StreamRoute, faults: &mut Faults<'_>) {
    let sum: u64 = route.route.iter().map(|to| u64::from(to.weight.unwrap_or(0))).sum();
    match route.route.as_slice() {
        [] => faults.error("route", "is empty"),
        [_] => {}
        _ if !(1..=u64::from(u32::MAX)).contains(&sum) => {
            faults.error("route", "the weights of several destinations sum up to nothing, or to too much");
        }
        _ => {}
    }
    faults.each("route", &route.route, |faults, to| {
        if to.headers.is_some() {
            faults.error("headers", "a connection has none");
        }
    });
}

fn match_faults(one: &StreamMatch, faults: &mut Faults<'_>) {
    if let Some(field) = one.unknowable() {
        faults.warning(field, "is not known where connections of a service arrive; the match is for nobody");
    }
}
