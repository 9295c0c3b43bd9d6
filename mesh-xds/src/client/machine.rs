//! The client's side of the delta protocol, without sockets, tasks or clocks.
//!
//! ```text
//! connect ──► first requests (subscribe again, versions held) ──► response ──► applied ──► ACK or NACK
//!    ▲                                                              │
//!    └────────────────────── stream ends: held versions stay ◄──────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use crate::pb::{Node, Status};

/// gRPC's INVALID_ARGUMENT, the code of a NACK.
const INVALID_ARGUMENT: i32 = 3;

/// What a response says, to be applied before it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The type.
    pub type_url: String,
    /// New and changed resources.
    pub upserts: Vec<Resource>,
    /// Names of resources that do not exist any more. Unknown names may be among them.
    pub removed: Vec<String>,
    nonce: String,
}

/// A resource that was rejected, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its name.
    pub name: String,
    /// The reason, as the server should read it.
    pub reason: String,
}

/// The name by which everything of a type is meant.
const WILDCARD: &str = "*";

/// Subscriptions to several types over one stream after another: to all of a type, or to the names that are demanded.
#[derive(Debug, Clone)]
pub struct Machine {
    node: Node,
    types: Vec<Subscription>,
}

#[derive(Debug, Clone)]
struct Subscription {
    type_url: String,
    /// The names asked for, when not everything is.
    demanded: Option<BTreeSet<String>>,
    /// Name and version of every resource that was accepted and is in use. Outlives streams.
    held: BTreeMap<String, String>,
    /// Whether an answer was accepted whole since start.
    synced: bool,
}

impl Machine {
    /// A machine that subscribes to everything of these types, asking in this order.
    #[must_use]
    pub fn new(node: Node, types: &[&str]) -> Self {
        let subscription = |url: &&str| Subscription {
            type_url: (*url).to_owned(),
            demanded: None,
            held: BTreeMap::new(),
            synced: false,
        };
        Self { node, types: types.iter().map(subscription).collect() }
    }

    /// Asks of this type only for what is demanded, not for everything.
    #[must_use]
    pub fn on_demand(mut self, type_url: &str) -> Self {
        if let Some(subscription) = self.subscription(type_url) {
            subscription.demanded = Some(BTreeSet::new());
        }
        self
    }

    /// Names are demanded. Gives the request to send on an open stream; none when all have been asked for. Without a
    /// stream nothing is lost: the next one begins with all names.
    pub fn handle_demand(
        &mut self,
        type_url: &str,
        names: impl IntoIterator<Item = String>,
    ) -> Option<DeltaDiscoveryRequest> {
        let demanded = self.subscription(type_url)?.demanded.as_mut()?;
        let new: Vec<String> = names.into_iter().filter(|name| demanded.insert(name.clone())).collect();
        let request = || DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: new.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        (!new.is_empty()).then(request)
    }

    /// Names are demanded no more. Gives the request to send on an open stream.
    pub fn handle_release(&mut self, type_url: &str, names: &[String]) -> Option<DeltaDiscoveryRequest> {
        let demanded = self.subscription(type_url)?.demanded.as_mut()?;
        let gone: Vec<String> = names.iter().filter(|name| demanded.remove(*name)).cloned().collect();
        let request = || DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_unsubscribe: gone.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        (!gone.is_empty()).then(request)
    }

    /// Takes over resources that were held before a restart.
    pub fn restore(&mut self, type_url: &str, held: impl IntoIterator<Item = (String, String)>) {
        if let Some(subscription) = self.subscription(type_url) {
            for (name, version) in held {
                if let Some(demanded) = &mut subscription.demanded {
                    demanded.insert(name.clone());
                }
                subscription.held.insert(name, version);
            }
        }
    }

    /// A stream was opened: the first request of every type, with the versions held, so that the server sends only what
    /// changed and says what is gone.
    #[must_use]
    pub fn handle_connected(&self) -> Vec<DeltaDiscoveryRequest> {
        let request = |subscription: &Subscription| {
            let mut request = DeltaDiscoveryRequest {
                node: Some(self.node.clone()),
                type_url: subscription.type_url.clone(),
                initial_resource_versions: subscription.held.clone().into_iter().collect(),
                ..DeltaDiscoveryRequest::default()
            };
            if let Some(demanded) = &subscription.demanded {
                // A first request that names nothing would ask for everything; one that takes the wildcard back does not.
                request.resource_names_subscribe = demanded.iter().cloned().collect();
                request.resource_names_subscribe.push(WILDCARD.to_owned());
                request.resource_names_unsubscribe = vec![WILDCARD.to_owned()];
            }
            request
        };
        self.types.iter().map(request).collect()
    }

    /// A response came. Gives what to apply; nothing when the type was never asked for. Such a response is not even
    /// acknowledged: a first request for a type would subscribe to all of it.
    pub fn handle_response(&mut self, response: DeltaDiscoveryResponse) -> Option<Update> {
        let DeltaDiscoveryResponse { type_url, resources, removed_resources, nonce, .. } = response;
        let subscription = self.subscription(&type_url)?;
        // A body-less resource at the version that is held says only that the resource still lives.
        let heartbeat = |resource: &Resource| {
            resource.resource.is_none() && subscription.held.get(&resource.name) == Some(&resource.version)
        };
        let upserts = resources.into_iter().filter(|resource| !heartbeat(resource)).collect();
        Some(Update { type_url, upserts, removed: removed_resources, nonce })
    }

    /// An update was applied, but for what was rejected. Gives the ACK, or the NACK that joins all reasons. Only what was
    /// accepted counts as held: a server must not believe that we have what we refused.
    pub fn handle_applied(&mut self, update: &Update, rejected: &[Rejected]) -> DeltaDiscoveryRequest {
        if let Some(subscription) = self.subscription(&update.type_url) {
            for name in &update.removed {
                subscription.held.remove(name);
            }
            for resource in &update.upserts {
                if rejected.iter().all(|rejected| rejected.name != resource.name) {
                    subscription.held.insert(resource.name.clone(), resource.version.clone());
                }
            }
            subscription.synced |= rejected.is_empty();
        }
        let mut request = acknowledge(update.type_url.clone(), update.nonce.clone());
        if !rejected.is_empty() {
            let reasons: Vec<_> = rejected.iter().map(|one| format!("{}: {}", one.name, one.reason)).collect();
            let message = reasons.join("; ");
            request.error_detail = Some(Status { code: INVALID_ARGUMENT, message, details: Vec::new() });
        }
        request
    }

    /// Whether an answer of every type was accepted whole since start. Types that are asked for on demand do not count.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.types.iter().all(|subscription| subscription.synced || subscription.demanded.is_some())
    }

    /// Name and version of every resource of a type that is held.
    pub fn held(&self, type_url: &str) -> impl Iterator<Item = (&str, &str)> {
        let subscription = self.types.iter().find(|subscription| subscription.type_url == type_url);
        let held = subscription.into_iter().flat_map(|subscription| &subscription.held);
        held.map(|(name, version)| (name.as_str(), version.as_str()))
    }

    fn subscription(&mut self, type_url: &str) -> Option<&mut Subscription> {
        self.types.iter_mut().find(|subscription| subscription.type_url == type_url)
    }
}

fn acknowledge(type_url: String, nonce: String) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url, response_nonce: nonce, ..DeltaDiscoveryRequest::default() }
}
