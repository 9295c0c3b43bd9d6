use std::collections::BTreeMap;

use mesh_core::listener::Listener;
use mesh_core::name::{Locality, NamespacedName, Text};

use crate::translate::facts::Differs;
use crate::translate::proxyless::{Clients, Named, Value};
use crate::translate::waypoint::Made;

/// What differs for those who are served.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// For node proxies: the names of what differs.
    pub(crate) differs: Differs,
    /// For instances of waypoints that somebody looks at.
    pub(crate) views: BTreeMap<View, ViewChange>,
    /// For clients without a proxy.
    pub(crate) clients: BTreeMap<Clients, Asked>,
}

/// What clients without a proxy asked for and get; `None` for what there is not. It may be what it was before.
pub(crate) type Asked = BTreeMap<Named, Option<Value>>;

/// A waypoint that is somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct View {
    /// Its Gateway.
    pub(crate) waypoint: NamespacedName,
    /// Where it is.
    pub(crate) locality: Locality,
}

/// What differs for the instances of a waypoint that are somewhere.
#[derive(Debug, Default)]
pub(crate) struct ViewChange {
    /// Clusters by name, with their endpoints; `None` for those that are gone. They may be what they were before.
    pub(crate) clusters: BTreeMap<Text, Option<Made>>,
    /// The listener, if it differs.
    pub(crate) listener: Option<Option<Listener>>,
}
