//! Clusters of Gateways: those of waypoints, with what only Gateways do.

use mesh_core::balance::HttpProtocol;
use mesh_core::name::{Locality, NamespacedName, Text};

use super::{backend_tls, through};
use crate::translate::facts::Reader;
use crate::translate::waypoint::{Made, Maker, Spec};

/// One cluster of a Gateway that is somewhere; `None` if what it is for is not there.
pub(in crate::translate) fn cluster(
    reader: &Reader<'_>,
    gateway: &NamespacedName,
    locality: &Locality,
    name: &Text,
    spec: &Spec,
) -> Option<Made> {
    let maker = Maker { reader, waypoint: None, namespace: gateway.namespace.as_str(), locality, tunnels: true };
    let mut made = maker.make(name, spec)?;
    let Spec::Service { service, port, .. } = spec else { return Some(made) };
    through::waypoint(reader, service, *port, &mut made);
    match backend_tls::of(reader, gateway, service, *port) {
        None => {}
        Some(Ok(mut tls)) => {
            if made.cluster.protocol == HttpProtocol::Http2 {
                tls.alpn = vec!["h2".into()];
            }
            made.cluster.transport_matches.clear();
            made.cluster.tls = Some(tls);
        }
        // Routes do not lead here then. Whoever comes all the same finds nobody.
        Some(Err(backend_tls::Unverifiable)) => return None,
    }
    Some(made)
}
