//! Which waypoint a service or workload is bound to.
//!
//! By the labels `istio.io/use-waypoint` and `istio.io/use-waypoint-namespace` of the object, else of its namespace, as in
//! Istio. Other than in Istio, an object that names a Gateway which is not there, or has no address yet, is bound to it all
//! the same: node proxies then refuse its traffic, rather than let it pass by the policies that the waypoint would enforce.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use mesh_core::name::{Hostname, NamespacedHostname, NamespacedName, Network};
use mesh_core::service::{GatewayAddress, GatewayDestination, HBONE_PORT};

use super::Place;
use crate::resource::{Gateway, Listener, Metadata};
use crate::world::Lookup;

const USE: &str = "istio.io/use-waypoint";
const USE_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
const CANARY: &str = "istio.io/use-waypoint-canary";
const CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";

/// Label of a Gateway, or of its class: what it is a waypoint for.
const PURPOSE: &str = "istio.io/waypoint-for";

/// Label of the services and pods that a Gateway consists of.
pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// What is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// A service.
    Service,
    /// A workload, for what is addressed to itself.
    Workload,
}

/// What a service or workload is bound to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The Gateway that is its waypoint.
    pub(crate) waypoint: Option<NamespacedName>,
    /// A second one, and the share of the traffic in percent that it gets.
    pub(crate) canary: Option<(NamespacedName, u32)>,
    /// Labels that have another effect than the one that was meant.
    pub(crate) faults: Vec<Fault>,
}

/// A label that has another effect than the one that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The reason, as Istio's condition `istio.io/WaypointBound` has it.
    pub(crate) reason: &'static str,
    label: &'static str,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label `{}`: {}", self.label, self.text)
    }
}

/// An object that may be bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    /// What it is.
    pub(crate) traffic: Traffic,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Its labels.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// Its annotations.
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

impl<'a> Object<'a> {
    /// An object with this metadata.
    pub(crate) fn new(traffic: Traffic, metadata: &'a Metadata) -> Self {
        let Metadata { namespace, labels, annotations, .. } = metadata;
        Self { traffic, namespace, labels, annotations }
    }
}

/// The waypoints of a service or workload.
pub(crate) fn bound(world: &impl Lookup, object: Object<'_>) -> Bound {
    let mut bound = Bound::default();
    if is_part_of_gateway(world, object) {
        return bound;
    }
    let of_namespace = world.namespace(object.namespace).map(|found| &found.metadata.labels);
    let own = object.labels.get(USE).map(|name| (name, object.labels));
    let inherited = || of_namespace.and_then(|labels| Some((labels.get(USE)?, labels)));
    let Some((name, said_by)) = own.or_else(inherited).filter(|(name, _)| *name != "none" && !name.is_empty()) else {
        return bound;
    };
    let namespace = said_by.get(USE_NAMESPACE).map_or(object.namespace, String::as_str);
    let key = NamespacedName::new(namespace, name.as_str());
    let is_there = world.gateway(&key).is_some();
    if !is_there && own.is_none() && object.traffic == Traffic::Workload {
        // As long as nothing else is known, it is one for services.
        return bound;
    }
    match accept(world, object, &key) {
        Ok(()) => bound.waypoint = Some(key.clone()),
        // What a namespace says is for those of its objects that it fits.
        Err(Refusal::Traffic(_)) if own.is_none() => return bound,
        Err(refusal) => {
            bound.faults.push(Fault { reason: refusal.reason(), label: USE, text: refusal.because(&key) });
            return bound;
        }
    }
    if own.is_some() && !is_there {
        let text = format!("Gateway `{key}` is not there; until it is, traffic is refused");
        bound.faults.push(Fault { reason: "WaypointIsNotReady", label: USE, text });
    }
    if object.traffic == Traffic::Service {
        canary(world, object, &key, own.is_some(), &mut bound);
    }
    bound
}

/// Whether an object is a part of a Gateway, which has no waypoint itself.
fn is_part_of_gateway(world: &impl Lookup, object: Object<'_>) -> bool {
    let named = object.labels.get(GATEWAY_NAME);
    named.is_some_and(|name| world.gateway(&NamespacedName::new(object.namespace, name.as_str())).is_some())
}

fn canary(world: &impl Lookup, object: Object<'_>, primary: &NamespacedName, own: bool, bound: &mut Bound) {
    let of_namespace = world.namespace(object.namespace).map(|found| &found.metadata.labels);
    let inherited = of_namespace.filter(|_| !own).and_then(|labels| Some((labels.get(CANARY)?, labels)));
    let Some((name, said_by)) = object.labels.get(CANARY).map(|name| (name, object.labels)).or(inherited) else {
        return;
    };
    let namespace = said_by.get(CANARY_NAMESPACE).map_or(object.namespace, String::as_str);
    let key = NamespacedName::new(namespace, name.as_str());
    let weight = object.annotations.get(CANARY_WEIGHT).map_or(Ok(0), |text| text.parse::<u32>());
    let outcome = match (accept(world, object, &key), weight) {
        _ if key == *primary => Err(("CanarySameAsPrimary", "it is the primary waypoint too".to_owned())),
        (Err(refusal), _) => Err((refusal.reason(), refusal.because(&key))),
        (Ok(()), Ok(weight)) if weight <= 100 => Ok(weight),
        (Ok(()), _) => Err(("CanaryInvalidWeight", format!("annotation `{CANARY_WEIGHT}` is no number from 0 to 100"))),
    };
    match outcome {
        Ok(weight) => bound.canary = Some((key, weight)),
        Err((reason, text)) => bound.faults.push(Fault { reason, label: CANARY, text }),
    }
}

/// Why an object is not bound.
enum Refusal {
    /// The Gateway is not for this kind of traffic, but for that one.
    Traffic(String),
    /// It admits nothing of this namespace.
    Namespace,
}

impl Refusal {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Traffic(_) => "UnsupportedTrafficType",
            Self::Namespace => "AttachmentDenied",
        }
    }

    fn because(self, gateway: &NamespacedName) -> String {
        match self {
            Self::Traffic(purpose) => format!("Gateway `{gateway}` is a waypoint for `{purpose}`; it is not bound"),
            Self::Namespace => {
                format!("Gateway `{gateway}` admits nothing of this namespace (allowedRoutes); it is not bound")
            }
        }
    }
}

fn accept(world: &impl Lookup, object: Object<'_>, key: &NamespacedName) -> Result<(), Refusal> {
    let Some(gateway) = world.gateway(key) else { return Ok(()) };
    let purpose = purpose(world, gateway);
    let fits = match object.traffic {
        Traffic::Service => matches!(purpose, "service" | "all"),
        Traffic::Workload => matches!(purpose, "workload" | "all"),
    };
    if !fits {
        return Err(Refusal::Traffic(purpose.to_owned()));
    }
    let own = key.namespace.as_str();
    let admitted = match hbone(gateway).map(|listener| &listener.allowed_routes.namespaces) {
        Some(allowed) => allowed.admit(own, object.namespace, || world.namespace_labels(object.namespace)),
        None => own == object.namespace,
    };
    admitted.then_some(()).ok_or(Refusal::Namespace)
}

/// What a Gateway is a waypoint for.
fn purpose<'a>(world: &'a impl Lookup, gateway: &'a Gateway) -> &'a str {
    let class = world.class(&gateway.spec.gateway_class_name);
    let of_class = || class.and_then(|class| class.metadata.labels.get(PURPOSE));
    gateway.metadata.labels.get(PURPOSE).or_else(of_class).map_or("service", String::as_str)
}

fn hbone(gateway: &Gateway) -> Option<&Listener> {
    gateway.spec.listeners.iter().find(|listener| listener.protocol == "HBONE")
}

/// Where a Gateway is found: by the first host name of its status, else its first address, else by the service of its name.
pub(crate) fn address(world: &impl Lookup, place: &Place, key: &NamespacedName) -> GatewayAddress {
    let gateway = world.gateway(key);
    let addresses = gateway.map(|gateway| match gateway.status.addresses.is_empty() {
        true => &gateway.spec.addresses,
        false => &gateway.status.addresses,
    });
    let by_name = |host: &str| {
        let host = Hostname::parse(host).ok()?;
        Some(GatewayDestination::Hostname(NamespacedHostname::new(key.namespace.as_str(), host)))
    };
    let mut all = addresses.into_iter().flatten();
    let named = all.clone().filter(|address| address.r#type.as_deref() == Some("Hostname"));
    let own_service = || by_name(&format!("{}.{}.svc.{}", key.name, key.namespace, place.cluster_domain));
    let destination = named
        .filter_map(|address| by_name(&address.value))
        .next()
        .or_else(|| {
            let ip = all.find_map(|address| address.value.parse::<IpAddr>().ok())?;
            Some(GatewayDestination::Address(Network::from(place.network.as_str()), ip))
        })
        .or_else(own_service);
    // A name that is none is nowhere: the unspecified address refuses as a Gateway does that is not there.
    let nowhere = || GatewayDestination::Address(Network::from(place.network.as_str()), [0, 0, 0, 0].into());
    GatewayAddress {
        destination: destination.unwrap_or_else(nowhere),
        hbone_port: gateway.and_then(hbone).map_or(HBONE_PORT, |listener| listener.port),
    }
}
