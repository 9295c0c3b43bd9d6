//! What a control plane says of the objects in force: the `status` of each, as Kubernetes' API has it. Pure.
//!
//! | object | says |
//! | --- | --- |
//! | GatewayClass | `Accepted`, the features that are supported |
//! | Gateway | `Accepted`, `Programmed`, `ResolvedRefs`, `InsecureFrontendValidationMode`; addresses; each listener |
//! | ListenerSet | `Accepted`, `Programmed`; each listener |
//! | HTTPRoute, GRPCRoute, TLSRoute, TCPRoute | for each parent of ours `Accepted`, `ResolvedRefs`, `PartiallyInvalid`; for a Service or ServiceEntry also `ResolvedWaypoints`, as Istio |
//! | BackendTLSPolicy | for each Gateway through which it takes effect `Accepted`, `ResolvedRefs` |
//! | ServiceExport, ServiceImport | `Valid`, `Ready`, `Conflict`; the clusters that contribute |
//! | Service, ServiceEntry, WorkloadEntry | `istio.io/WaypointBound`, where a waypoint is asked for |
//! | AuthorizationPolicy | `ZtunnelAccepted`, or with targets `WaypointAccepted` |
//!
//! Istio writes none of these conditions for PeerAuthentications, RequestAuthentications, DestinationRules and
//! VirtualServices; what is wrong with them is found by [`analyze`](crate::analyze).
//!
//! In a cluster `observedGeneration` is the object's `metadata.generation`. Objects in files have none: they are counted, from 1
//! on, once more with each change of anything but their metadata, as long as the process lives ([`Generations`]). The status
//! is that of what is in force: of an object whose newest version was refused it is of the last good one, and a route says so
//! (`PartiallyInvalid`).
//!
//! # What is never said
//!
//! | condition or reason | why |
//! | --- | --- |
//! | `Accepted=Unknown/Pending` of any object | it is what an API server fills in; an object is judged as soon as it is known |
//! | GatewayClass `SupportedVersion`, `Unsupported`, `UnsupportedVersion` | the versions of installed definitions are not read; all of a class that are served are supported |
//! | Gateway `Invalid` other than for no listener, ListenerSet `Invalid` | such objects are refused when they are read; what was good before counts |
//! | Gateway listener `TooManyListeners` | a Gateway itself has 64 at most |
//! | `OverlappingCertificates` | names in certificates are not compared; host names of listeners are |
//! | listener `UnsupportedValue` for modes of TLS | both are served |
//! | route `UnsupportedValue` for unknown values | the object is refused when it is read; filters that are known and not served bring it about |
//! | UDPRoute, XBackendTrafficPolicy, XMesh | not served |

mod addresses;
mod background;
mod class;
mod condition;
mod context;
mod export;
mod features;
mod gateway;
mod generation;
mod istio;
mod listener;
mod listener_set;
mod page;
mod policy;
mod route;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use self::background::{Task, run};
pub use self::condition::with_absent;
use self::context::Context;
pub use self::generation::Generations;
pub(crate) use self::page::{list, one};
use crate::finding::Finding;
use crate::resource::ObjectId;
use crate::translate::Place;
use crate::world::World;

/// What statuses are made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The objects in force.
    pub world: &'a World,
    /// Names of the place that they describe.
    pub place: &'a Place,
    /// What was found when they were read.
    pub findings: &'a [Finding],
    /// How often each object changed that does not say so itself.
    pub generations: &'a Generations,
}

/// The content of `status`, by object. Conditions have no `lastTransitionTime`, entries of `parents` and `ancestors` no
/// `controllerName`: who writes them adds that. Objects of which there is nothing to say are left out.
pub type Statuses = BTreeMap<ObjectId, Value>;

/// What is to be said of each object.
#[must_use]
pub fn statuses(input: &Input<'_>) -> Statuses {
    let context = Context::new(input);
    let mut all = Statuses::new();
    class::add(&context, &mut all);
    gateway::add(&context, &mut all);
    listener_set::add(&context, &mut all);
    route::add(&context, &mut all);
    policy::add(&context, &mut all);
    export::add(&context, &mut all);
    istio::add(&context, &mut all);
    all
}
