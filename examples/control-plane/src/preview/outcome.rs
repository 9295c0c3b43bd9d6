use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mesh_core::name::NamespacedName;
use serde::{Serialize, Serializer};

/// What becomes of what a client wants, over all ways that it may take.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Outcome {
    /// Whether it may.
    pub access: Access,
    /// Why, at each point that decides: of a refusal what refused, else what allowed.
    pub causes: Vec<Cause>,
    /// Over what it goes; several where chance decides, none where it may not.
    pub via: Vec<Via>,
    /// What becomes of a request at waypoints; none where nobody looks at requests.
    pub routes: Vec<Arc<RouteAnswer>>,
}

/// Whether something may pass. The further down, the more may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It may not.
    Refused,
    /// Chance decides: one of the ways is closed.
    Partly,
    /// Somebody is asked whom the configuration does not tell: an external authorizer, or the proxies of another
    /// network.
    Asked,
    /// It may.
    Open,
}

/// Over what a connection goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// In plaintext.
    Plaintext,
    /// Through a tunnel to the endpoint.
    Tunnel,
    /// Through a waypoint.
    Waypoint(NamespacedName),
    /// Through the gateway of another network.
    Gateway,
}

/// What decided, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// Who decides.
    pub point: Point,
    /// How.
    pub why: Why,
    /// The policies that it is due to. Of a refusal because no ALLOW policy matches these are all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRef>,
}

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// The client's node proxy, which looks for a way.
    Client,
    /// The node proxy of the destination.
    Destination,
    /// A waypoint.
    Waypoint(NamespacedName),
    /// The node proxy of an endpoint, of a waypoint that connects to it.
    Behind(NamespacedName),
}

/// How something is decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// A DENY policy matches.
    Denied,
    /// ALLOW policies apply, and none of them matches.
    NoneAllows,
    /// The workload names a policy that is not known.
    PolicyMissing,
    /// There is no way: a word of [`mesh_core::resolve::Reason`], and its text.
    NoWay(&'static str, String),
    /// The waypoint does not serve what is asked for.
    NotServed,
    /// What is spoken is not HTTP, and the port is for nothing else.
    NotHttp,
    /// The token is of an issuer that nobody knows here.
    UnknownIssuer,
    /// No endpoint of a cluster takes traffic.
    NoEndpoint(String),
    /// The path is refused before anything else is looked at.
    BadPath(String),
    /// An external authorizer decides.
    Authorizer(String),
    /// The proxies of another network decide.
    Elsewhere,
    /// Another control plane programs the waypoint.
    ProgrammedElsewhere,
    /// An ALLOW policy matches.
    Allowed,
    /// No ALLOW policy applies, and no DENY policy matches.
    Unrestricted,
    /// The destination is not in the mesh: nobody looks at policies.
    NotInMesh,
}

/// A policy, and the rule of it that matched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PolicyRef {
    /// The policy.
    #[serde(serialize_with = "as_text")]
    pub name: NamespacedName,
    /// The rule, counted from 0, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
}

/// What a route does with a request. Two that are equal do the same, whatever they are called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RouteAnswer {
    /// Where the request goes, or what it is answered.
    pub to: String,
    /// What else is said of it, by name: timeouts, retries, rewrites, filters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<&'static str, String>,
}

impl Outcome {
    /// What becomes of something that may take several ways. Of what passes the one way and not the other, the causes
    /// are those of the refusals.
    #[must_use]
    pub fn of(ways: Vec<Self>) -> Self {
        let lowest = ways.iter().map(|way| way.access).min().unwrap_or(Access::Refused);
        let highest = ways.iter().map(|way| way.access).max().unwrap_or(Access::Refused);
        let access = if lowest < Access::Asked && lowest != highest { Access::Partly } else { lowest };
        let mut all = Self { access, causes: Vec::new(), via: Vec::new(), routes: Vec::new() };
        for way in ways {
            if way.access == lowest {
                all.causes.extend(way.causes);
            }
            if way.access > Access::Refused {
                all.via.extend(way.via);
                all.routes.extend(way.routes);
            }
        }
        sort(&mut all.causes);
        sort(&mut all.via);
        sort(&mut all.routes);
        all
    }
}

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort();
    list.dedup();
}

impl Cause {
    /// With the policy that it is due to.
    pub(super) fn new(point: Point, why: Why, policies: Vec<PolicyRef>) -> Self {
        Self { point, why, policies }
    }
}

impl Why {
    /// The stable word for machines.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Denied => "deny_policy",
            Self::NoneAllows => "no_allow_policy_matches",
            Self::PolicyMissing => "policy_missing",
            Self::NoWay(word, _) => word,
            Self::NotServed => "not_served",
            Self::NotHttp => "not_http",
            Self::UnknownIssuer => "unknown_issuer",
            Self::NoEndpoint(_) => "no_endpoint",
            Self::BadPath(_) => "bad_path",
            Self::Authorizer(_) => "external_authorizer",
            Self::Elsewhere => "other_network",
            Self::ProgrammedElsewhere => "programmed_elsewhere",
            Self::Allowed => "allow_policy",
            Self::Unrestricted => "no_allow_policy",
            Self::NotInMesh => "not_in_mesh",
        }
    }
}

impl Access {
    /// The stable word for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Partly => "partly",
            Self::Asked => "asked",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("denied by a policy"),
            Self::NoneAllows => f.write_str("no ALLOW policy matches"),
            Self::PolicyMissing => f.write_str("a policy that the workload names is not known"),
            Self::NoWay(_, text) => f.write_str(text),
            Self::NotServed => f.write_str("the waypoint does not serve it"),
            Self::NotHttp => f.write_str("the port is for HTTP only"),
            Self::UnknownIssuer => f.write_str("the token's issuer is not known here"),
            Self::NoEndpoint(cluster) => write!(f, "no endpoint of {cluster} takes traffic"),
            Self::BadPath(reason) => write!(f, "the path is refused: {reason}"),
            Self::Authorizer(name) => write!(f, "the external authorizer {name} decides"),
            Self::Elsewhere => f.write_str("the proxies of the other network decide"),
            Self::ProgrammedElsewhere => f.write_str("the waypoint is programmed by another control plane"),
            Self::Allowed => f.write_str("an ALLOW policy matches"),
            Self::Unrestricted => f.write_str("no policy restricts it"),
            Self::NotInMesh => f.write_str("the destination is not in the mesh: nobody looks at policies"),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("node proxy of the client"),
            Self::Destination => f.write_str("node proxy of the destination"),
            Self::Waypoint(key) => write!(f, "waypoint {key}"),
            Self::Behind(key) => write!(f, "node proxy of the endpoint, about the waypoint {key}"),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext => f.write_str("in plaintext"),
            Self::Tunnel => f.write_str("in a tunnel to the endpoint"),
            Self::Waypoint(key) => write!(f, "through the waypoint {key}"),
            Self::Gateway => f.write_str("through the gateway of another network"),
        }
    }
}

impl Serialize for Via {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Why {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn as_text<S: Serializer>(name: &NamespacedName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}
