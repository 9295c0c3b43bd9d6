use std::collections::BTreeMap;
use std::ops::Range;

use ipnet::IpNet;

use crate::name::Text;
use crate::path::PathTemplate;
use crate::request::{HeaderMatch, MetadataMatch};
use crate::string_match::Pattern;

/// Rules that are enforced and rules that are only reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RbacFilter {
    /// Enforced; `None` lets everything pass.
    pub rules: Option<Rbac>,
    /// Evaluated and reported, never enforced.
    pub shadow: Option<Rbac>,
    /// What stands before the names of what is reported of the shadow rules.
    pub shadow_prefix: Text,
}

/// Named policies and what a match of one of them means. Envoy's `envoy.config.rbac.v3.RBAC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rbac {
    /// What a match means.
    pub action: Action,
    /// The policies by name. With [`Action::Allow`] and none of them, nothing passes.
    pub policies: BTreeMap<Text, Policy>,
}

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Only what matches passes.
    Allow,
    /// Only what does not match passes.
    Deny,
    /// Everything passes; what matches is to be logged.
    Log,
}

/// Who may do what: matches when any permission and any principal do. Without permissions, or without principals, it never
/// matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is done.
    pub permissions: Vec<Permission>,
    /// Who does it.
    pub principals: Vec<Principal>,
}

/// Where Envoy, as Istio sets it up, keeps who the peer is.
pub const PEER_PRINCIPAL: &str = "io.istio.peer_principal";

/// A condition on what is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Anything.
    Any,
    /// All of these hold.
    And(Vec<Self>),
    /// One of these holds.
    Or(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// A header of the request.
    Header(HeaderMatch),
    /// The path of the request, without query and fragment.
    Path(Pattern),
    /// The same, with wildcards.
    PathTemplate(PathTemplate),
    /// What a filter said of the request.
    Metadata(MetadataMatch),
    /// Address of the destination.
    DestinationIp(IpNet),
    /// Port of the destination.
    DestinationPort(u16),
    /// Port of the destination, without the end.
    DestinationPorts(Range<u32>),
    /// The server name that the client asked for in TLS; empty when there is none.
    ServerName(Pattern),
}

/// A condition on who does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Anybody.
    Any,
    /// All of these hold.
    And(Vec<Self>),
    /// One of these holds.
    Or(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// A peer over TLS, whose name looks like this if something is said of it. See [`Peer`](super::Peer) for its name.
    Authenticated(Option<Pattern>),
    /// The peer as the mesh knows it: the first URI of its certificate, even where a tunnel stands between. A peer without
    /// does not match. Envoy keeps it in its filter state, under [`PEER_PRINCIPAL`].
    PeerPrincipal(Pattern),
    /// What a filter said of the request, such as the claims of a verified token.
    Metadata(MetadataMatch),
    /// Address of the client as [`Facts::source`](super::Facts::source) has it.
    SourceIp(IpNet),
    /// Address of the client as [`Facts::direct_remote`](super::Facts::direct_remote) has it.
    DirectRemoteIp(IpNet),
    /// Address of the client as [`Facts::remote`](super::Facts::remote) has it.
    RemoteIp(IpNet),
    /// A header of the request.
    Header(HeaderMatch),
    /// The path of the request, without query and fragment.
    Path(Pattern),
}
