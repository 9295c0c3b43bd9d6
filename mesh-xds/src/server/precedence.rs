//! In which order a client is told of a change, so that it breaks nothing on the way: the order that the service gives to its
//! types, and of Envoy's own types which wait until the client has accepted others (make before break).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster::EdsClusterConfig;
use prost::Message;

use super::cache::Entry;
use super::ledger::{Ledger, Versioned};
use super::visible::Visible;
use crate::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};

/// What is new: clusters before what leads to them.
const MAKE: [&str; 4] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

/// What is gone: what leads somewhere before that to which it leads.
const BREAK: [&str; 4] = [LISTENER_TYPE, ROUTE_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE];

/// Whether a type is one of those that wait for each other.
pub(super) fn is_chained(type_url: &str) -> bool {
    MAKE.contains(&type_url)
}

/// The types of one stream, in the order in which what is new of them is sent, and what is gone.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) make: Vec<String>,
    pub(super) leave: Vec<String>,
}

impl Order {
    /// Those of the service's order, then the others. The places of types that wait for each other are theirs together,
    /// whatever the service says of their order.
    pub(super) fn new<S>(types: &Types<S>, order: &[&str]) -> Self {
        let ordered = order.iter().filter(|url| types.contains_key(**url)).map(|url| (*url).to_owned());
        let others = types.keys().filter(|url| !order.contains(&url.as_str())).cloned();
        let all: Vec<String> = ordered.chain(others).collect();
        let arranged = |chain: [&str; 4]| {
            let mut chained = chain.into_iter().filter(|url| types.contains_key(*url));
            let place = |url: &String| if is_chained(url) { chained.next().unwrap_or(url) } else { url }.to_owned();
            all.iter().map(place).collect()
        };
        Self { make: arranged(MAKE), leave: arranged(BREAK) }
    }
}

/// What is asked of a subscription, in either variant of the protocol.
pub(super) trait Subscribed {
    /// What is remembered of what was sent.
    type Content: Versioned;

    fn ledger(&self) -> &Ledger<Self::Content>;
    /// Whether something that the client has is gone, and it was not told yet.
    fn loses(&self) -> bool;
    /// Whether a resource of the ledger is one of those.
    fn is_leaving(&self, name: &str) -> bool;
}

/// The subscriptions of one stream.
pub(super) type Types<S> = BTreeMap<String, S>;

/// When something may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// When the client has accepted what comes before it, or patience with it has ended.
    Waits,
    /// When the client has accepted another version of what it rejected, however long that takes.
    Stays,
}

/// What decides whose turn it is, beside the ledgers.
#[derive(Debug, Default)]
pub(super) struct Precedence {
    /// Clusters that were sent and whose endpoints were not, each with the name of those.
    introduced: BTreeMap<Arc<str>, Arc<str>>,
    /// Endpoints that the client holds and waits for again, because their clusters were sent.
    warming: BTreeSet<Arc<str>>,
    /// What was rejected of the answers up to this one does not hold up anything new any more.
    pardoned: u64,
}

impl Precedence {
    /// Patience has ended: what the client was sent so far is not waited for; `newest` is the last answer.
    pub(super) fn give_up(&mut self, newest: u64) {
        self.introduced.clear();
        self.pardoned = newest;
    }

    /// The answer up to which rejections do not hold up anything new any more, so that what was rejected may be in use.
    pub(super) fn pardoned(&self) -> u64 {
        self.pardoned
    }

    /// These clusters were sent.
    pub(super) fn sent_clusters<'a, S: Subscribed>(
        &mut self,
        types: &Types<S>,
        clusters: impl Iterator<Item = (&'a Arc<str>, &'a Entry)>,
    ) {
        for (name, entry) in clusters {
            let endpoints = endpoints_of(name, entry);
            if has(types, ENDPOINT_TYPE, &endpoints) {
                self.introduced.remove(name);
                self.warming.insert(endpoints);
            } else {
                self.introduced.insert(Arc::clone(name), endpoints);
            }
        }
        self.settle(types);
    }

    /// Forgets clusters that the client has not any more, and those that have their endpoints now.
    pub(super) fn settle<S: Subscribed>(&mut self, types: &Types<S>) {
        let awaits =
            |cluster: &str, endpoints: &str| has(types, CLUSTER_TYPE, cluster) && !has(types, ENDPOINT_TYPE, endpoints);
        self.introduced.retain(|cluster, endpoints| awaits(cluster, endpoints));
        self.warming.retain(|endpoints| has(types, ENDPOINT_TYPE, endpoints));
    }

    /// Endpoints to be sent once more.
    pub(super) fn take_warming(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.warming)
    }

    /// Whether what is new of a type may be sent. Clusters may at once, and endpoints: Envoy does not accept new clusters
    /// before it has their endpoints.
    pub(super) fn of_new<S: Subscribed>(&self, types: &Types<S>, type_url: &str, endpoints: Visible<'_>) -> Turn {
        let before: &[&str] = match type_url {
            LISTENER_TYPE => &[CLUSTER_TYPE, ENDPOINT_TYPE],
            ROUTE_TYPE => &[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE],
            _ => return Turn::Now,
        };
        let waits = before.iter().any(|url| is_waiting(types, url))
            || [CLUSTER_TYPE, ENDPOINT_TYPE].iter().any(|url| is_rejected(types, url, self.pardoned))
            || self.lacks_endpoints(types, endpoints);
        if waits { Turn::Waits } else { Turn::Now }
    }

    /// Whether the client may be told what is gone of a type: when it has accepted everything else. What it rejected it
    /// still has in a version before, which may lead to what is gone; or it is new and not there yet, and what is to lead to
    /// it leads to what is gone as long.
    pub(super) fn of_gone<S: Subscribed>(&self, types: &Types<S>, type_url: &str, endpoints: Visible<'_>) -> Turn {
        let leading: &[&str] = match type_url {
            // Nothing leads to a listener; and one that was rejected may want the port of one that is gone.
            LISTENER_TYPE => &[],
            ROUTE_TYPE => &[LISTENER_TYPE, ROUTE_TYPE],
            // Not clusters: one that goes and is rejected again in every answer would keep itself for ever.
            CLUSTER_TYPE => &[LISTENER_TYPE, ROUTE_TYPE],
            ENDPOINT_TYPE => &BREAK,
            _ => return Turn::Now,
        };
        if leading.iter().any(|url| is_rejected(types, url, 0)) {
            Turn::Stays
        } else if MAKE.iter().any(|url| is_waiting(types, url)) || self.lacks_endpoints(types, endpoints) {
            Turn::Waits
        } else {
            Turn::Now
        }
    }

    /// Whether the client has yet to be sent the endpoints of a new cluster.
    fn lacks_endpoints<S: Subscribed>(&self, types: &Types<S>, endpoints: Visible<'_>) -> bool {
        let lacks = |name: &Arc<str>| endpoints.get(name).is_some() && !has(types, ENDPOINT_TYPE, name);
        self.introduced.values().any(lacks)
    }
}

fn has<S: Subscribed>(types: &Types<S>, type_url: &str, name: &str) -> bool {
    types.get(type_url).is_some_and(|subscription| subscription.ledger().contains(name))
}

/// Whether the client has yet to answer something that others wait for. Endpoints change all the time, and lead nowhere: of
/// them only the first ones of a cluster are waited for.
fn is_waiting<S: Subscribed>(types: &Types<S>, type_url: &str) -> bool {
    types.get(type_url).is_some_and(|subscription| match type_url {
        ENDPOINT_TYPE => subscription.ledger().is_introducing(),
        _ => subscription.ledger().is_waiting(),
    })
}

/// Whether the client rejected something that is still there, in an answer later than `after`.
fn is_rejected<S: Subscribed>(types: &Types<S>, type_url: &str, after: u64) -> bool {
    types.get(type_url).is_some_and(|subscription| {
        let mut rejected = subscription.ledger().rejected_after(after);
        rejected.any(|name| !subscription.is_leaving(name))
    })
}

/// Of a cluster, what says where its endpoints are.
#[derive(Clone, PartialEq, Message)]
struct OfEndpoints {
    #[prost(message, optional, tag = "3")]
    eds_cluster_config: Option<EdsClusterConfig>,
}

/// The name of a cluster's endpoints: that of the cluster, unless it says another.
fn endpoints_of(name: &Arc<str>, entry: &Entry) -> Arc<str> {
    let config = OfEndpoints::decode(entry.body.as_ref()).ok().and_then(|cluster| cluster.eds_cluster_config);
    match config {
        Some(config) if !config.service_name.is_empty() => config.service_name.into(),
        _ => Arc::clone(name),
    }
}
