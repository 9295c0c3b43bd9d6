//! What a real Envoy needs around `main_internal`, as Istio has it, but for what only Istio's build of Envoy knows.
//!
//! ```text
//! node proxy ══HBONE══► listener connect_terminate :15008 ─► cluster main_internal ─► listener main_internal
//!            ◄══HBONE══ cluster connect_originate ◄─ listener connect_originate ◄─ clusters inbound-vip|…, encap
//! ```
//!
//! Who calls is known where a tunnel ends only. It goes along as filter state, `io.istio.peer_principal`, hashable, so that
//! callers do not share a connection within Envoy; so do the address the tunnel is for and the client's own, from which
//! `main_internal` learns where the stream leads and where it comes from.
//!
//! The bootstrap brings what no resource can: the extension `envoy.bootstrap.internal_listener`, and the cluster `sds-grpc`,
//! which serves the secrets `default` (its certificate) and `ROOTCA` (whom it trusts) as Istio's and SPIRE's agents do.
//!
//! | not as we do it ourselves | why |
//! | --- | --- |
//! | the roots of the machine are a file, where the images of Envoy have them | Envoy knows of none |
//! | at the end of a tunnel anybody of the trust domain is accepted | Envoy has no names to expect per endpoint where it finds out the address by itself |

mod listener;
mod origination;
mod state;
mod tls;
mod upstream;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use mesh_core::name::TrustDomain;
use prost::Message;

use super::listener::{DIRECT_HTTP, DIRECT_TCP, MAIN};

/// Resources by name.
type Named = Vec<(String, Vec<u8>)>;

/// Prepares `main_internal` and its clusters, and gives the listeners and clusters that stand around them.
pub(super) fn around(
    main: &mut [(String, Vec<u8>)],
    clusters: &mut [(String, Vec<u8>)],
    trust_domain: &TrustDomain,
) -> (Named, Named) {
    for (_, bytes) in clusters {
        if let Ok(mut cluster) = Cluster::decode(bytes.as_slice())
            && origination::adapt(&mut cluster)
        {
            *bytes = cluster.encode_to_vec();
        }
    }
    for (name, bytes) in main {
        if name == MAIN
            && let Ok(listener) = Listener::decode(bytes.as_slice())
        {
            *bytes = prepared(listener).encode_to_vec();
        }
    }
    let listeners = [listener::connect_terminate(trust_domain), listener::connect_originate()];
    let clusters = [upstream::main_internal(), upstream::connect_originate(trust_domain)];
    let listeners = listeners.map(|listener| (listener.name.clone(), listener.encode_to_vec()));
    let clusters = clusters.map(|cluster| (cluster.name.clone(), cluster.encode_to_vec()));
    (listeners.into(), clusters.into())
}

/// What is addressed to a workload says again where it leads: what came with the stream counts for one connection only.
fn prepared(mut listener: Listener) -> Listener {
    let direct = listener
        .filter_chains
        .iter_mut()
        .filter(|chain| chain.name.starts_with(DIRECT_HTTP) || chain.name.starts_with(DIRECT_TCP));
    for chain in direct {
        chain.filters.insert(0, listener::keep_destination());
    }
    listener
}
