use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mesh_core::listener::Listener;
use mesh_core::name::{Locality, NamespacedName, Text};
use mesh_core::route::RouteTable;
use mesh_core::tls::Secret;

use crate::translate::facts::Differs;
use crate::translate::proxyless::{Clients, Named, Value};
use crate::translate::waypoint::Made;

/// What differs for those who are served.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// For node proxies: the names of what differs.
    pub(crate) differs: Differs,
    /// For instances of waypoints and other Gateways that somebody looks at.
    pub(crate) views: BTreeMap<View, ViewChange>,
    /// For clients without a proxy.
    pub(crate) clients: BTreeMap<Clients, Asked>,
}

/// What clients without a proxy asked for and get; `None` for what there is not. It may be what it was before.
pub(crate) type Asked = BTreeMap<Named, Option<Value>>;

/// A waypoint, or another Gateway, that is somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct View {
    /// Its Gateway.
    pub(crate) waypoint: NamespacedName,
    /// Where it is.
    pub(crate) locality: Locality,
    /// Which of both it is looked at as.
    pub(crate) role: Role,
}

/// What a Gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// A waypoint.
    Waypoint,
    /// One where traffic enters the mesh.
    Gateway,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waypoint => "waypoint",
            Self::Gateway => "gateway",
        })
    }
}

/// What differs for the instances of a waypoint, or of another Gateway, that are somewhere; `None` for what is gone.
#[derive(Debug, Default)]
pub(crate) struct ViewChange {
    /// Clusters by name, with their endpoints. They may be what they were before.
    pub(crate) clusters: BTreeMap<Text, Option<Made>>,
    /// Listeners by name.
    pub(crate) listeners: BTreeMap<Text, Option<Listener>>,
    /// Routes that come by their own names.
    pub(crate) routes: BTreeMap<Text, Option<Arc<RouteTable>>>,
    /// Secrets by name.
    pub(crate) secrets: BTreeMap<Text, Option<Secret>>,
}
