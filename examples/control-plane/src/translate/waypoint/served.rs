//! Which waypoints are served here, and who may be one.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::name::{NamespacedName, ServiceAccount, SpiffeId};
use mesh_core::service::{GatewayAddress, Service};

use crate::resource::{Gateway, Kind, WAYPOINT_CLASS};
use crate::translate::binding;
use crate::translate::facts::{By, Reader};

/// Annotation of a Gateway: the service account of its instances, where it is not that of its name.
const ACCOUNT: &str = "gateway.istio.io/service-account";

/// Where a waypoint is found; `None` if it is not served here.
pub(super) fn address(reader: &Reader<'_>, waypoint: &NamespacedName) -> Option<GatewayAddress> {
    reader.gateway_object(waypoint).filter(|gateway| is_served(gateway))?;
    Some(binding::address(reader, reader.place(), waypoint))
}

/// Whether a service is bound to the waypoint at an address.
pub(super) fn is_bound(service: &Service, waypoint: &GatewayAddress) -> bool {
    service.waypoint.as_ref() == Some(waypoint) || service.weighted_waypoints.iter().any(|(to, _)| to == waypoint)
}

/// Whether a Gateway is a waypoint.
pub(super) fn is_served(gateway: &Gateway) -> bool {
    gateway.spec.gateway_class_name == WAYPOINT_CLASS
}

/// Who may be a waypoint: the accounts of its instances, or, as long as there is none, the one that is meant for them.
pub(super) fn identities(reader: &Reader<'_>, waypoint: &NamespacedName) -> BTreeSet<SpiffeId> {
    match reader.gateway_object(waypoint).filter(|gateway| is_served(gateway)) {
        Some(gateway) => identities_of(reader, waypoint, gateway, waypoint.name.as_str()),
        None => BTreeSet::new(),
    }
}

/// Who may be a Gateway: the accounts of its instances, or, as long as there is none, the one that is meant for them, which
/// is of this name where nothing else is said.
pub(in crate::translate) fn identities_of(
    reader: &Reader<'_>,
    waypoint: &NamespacedName,
    gateway: &Gateway,
    name: &str,
) -> BTreeSet<SpiffeId> {
    let accounts: BTreeSet<SpiffeId> =
        instances(reader, waypoint).filter_map(|account| identity(reader, waypoint, account)).collect();
    if !accounts.is_empty() {
        return accounts;
    }
    let annotations: &BTreeMap<String, String> = &gateway.metadata.annotations;
    let name = annotations.get(ACCOUNT).map_or(name, String::as_str);
    identity(reader, waypoint, name).into_iter().collect()
}

/// The account of each instance.
fn instances<'a>(reader: &Reader<'a>, waypoint: &NamespacedName) -> impl Iterator<Item = &'a str> {
    let account = |id: &crate::resource::ObjectId| match id.kind {
        Kind::Pod => Some(reader.pod(&id.name)?.spec.service_account_name.as_deref()),
        _ => Some(reader.entry(&id.name)?.spec.service_account.as_deref()),
    };
    let accounts: Vec<_> = reader.index(By::Instances(waypoint.clone())).filter_map(account).collect();
    accounts.into_iter().map(|account| account.unwrap_or("default"))
}

fn identity(reader: &Reader<'_>, waypoint: &NamespacedName, account: &str) -> Option<SpiffeId> {
    let trust_domain = reader.place().trust_domain.clone();
    let account = ServiceAccount::new(trust_domain, waypoint.namespace.as_str(), account).ok()?;
    Some(account.to_spiffe_id())
}
