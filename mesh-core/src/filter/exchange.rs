use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, request};

use super::{Flag, Flags, Metadata};
use crate::balance::Preferred;
use crate::name::{SpiffeId, Text};
use crate::request::{Head, Request};
use crate::route::{FilterOverride, Selection, Unrouted};

/// What is known of a connection that brings requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The other end of the socket.
    pub direct_remote: SocketAddr,
    /// The client: the other end of the socket, unless a tunnel or a PROXY header names another.
    pub source: SocketAddr,
    /// Where the client wanted to go.
    pub destination: SocketAddr,
    /// Whether the client secured it, whatever it is carried over since.
    pub tls: bool,
    /// The server name that the client asked for in TLS.
    pub server_name: Option<Text>,
    /// Who the client is, as its verified certificate names it; `None` in plaintext.
    pub peer: Option<PeerNames>,
    /// Who we are towards the client; `None` in plaintext.
    pub local: Option<SpiffeId>,
}

/// The client of a connection, as its verified certificate names it; all empty when it showed none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNames {
    /// URIs among the subject alternative names; a SPIFFE id is the only one.
    pub uris: Vec<Text>,
    /// DNS names among the subject alternative names.
    pub dns_names: Vec<Text>,
    /// The subject (RFC 2253).
    pub subject: Text,
    /// The certificate (DER); empty where it is not kept.
    pub certificate: Bytes,
}

impl Connection {
    /// A connection in plaintext.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self { direct_remote: source, source, destination, tls: false, server_name: None, peer: None, local: None }
    }

    /// The same, from a client with this identity.
    #[must_use]
    pub fn from_peer(mut self, peer: &SpiffeId) -> Self {
        self.peer = Some(PeerNames { uris: vec![peer.to_string().into()], ..PeerNames::default() });
        self.tls = true;
        self
    }

    /// The first URI of the client's certificate.
    #[must_use]
    pub fn peer_uri(&self) -> Option<&str> {
        self.peer.as_ref()?.uris.first().map(Text::as_str)
    }
}

/// What is known of one request and its response, on the way through filters to the service and back.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// Address of its client: that of the connection, unless a trusted `x-forwarded-for` names another.
    pub remote: IpAddr,
    /// `http` or `https`: what the client spoke, whatever it is carried over since.
    pub scheme: &'static str,
    /// Its route.
    pub route: Routed,
    /// A number drawn for it, uniform over all 64 bits: one draw for all that is decided by chance about its route.
    pub random: u64,
    /// The endpoint that it should go to, before any other is considered.
    pub preferred: Option<Preferred>,
    /// Where it was sent, if it was sent anywhere.
    pub upstream: Option<Reached>,
    /// What filters said.
    pub metadata: Metadata,
    /// What was read of its body, for filters that want it.
    pub body: Option<Bytes>,
    /// Why its response is not simply what the service said.
    pub flags: Flags,
    /// The same in a word, for logs, such as `route_not_found`; empty if it is what the service said.
    pub details: Text,
    /// What filters keep for themselves until the response comes.
    pub kept: Extensions,
    /// The filter that is asked now.
    pub(super) current: Text,
}

/// Values of one type, by the names of the filters that keep them.
#[derive(Clone)]
struct Kept<T>(Vec<(Text, T)>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Where a request was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The cluster.
    pub cluster: Text,
    /// The endpoint of the last attempt; `None` if there was none to send it to.
    pub endpoint: Option<SocketAddr>,
    /// How many attempts were made.
    pub attempts: u32,
}

/// Whether a request has a route.
#[derive(Debug, Clone)]
pub enum Routed {
    /// Nobody has asked yet.
    Unasked,
    /// It has.
    To(Selection),
    /// It has none.
    Nowhere(Unrouted),
}

impl Exchange {
    /// Of a request that came on a connection.
    #[must_use]
    pub fn new(connection: Arc<Connection>) -> Self {
        Self {
            remote: connection.source.ip(),
            scheme: if connection.tls { "https" } else { "http" },
            connection,
            route: Routed::Unasked,
            random: fastrand::u64(..),
            preferred: None,
            upstream: None,
            metadata: Metadata::default(),
            body: None,
            flags: Flags::default(),
            details: Text::default(),
            kept: Extensions::new(),
            current: Text::default(),
        }
    }

    /// Of a request: what an outer layer knows, or else what the request's extensions hold of its connection, or else that
    /// nothing is known.
    #[must_use]
    pub fn take(head: &mut request::Parts) -> Self {
        head.extensions.remove::<Self>().unwrap_or_else(|| {
            let connection = head.extensions.get::<Arc<Connection>>().cloned();
            Self::new(connection.unwrap_or_else(|| {
                let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
                Arc::new(Connection::new(nowhere, nowhere))
            }))
        })
    }

    /// The request as decisions see it. The authority is that of the target, or else the `host` header.
    #[must_use]
    pub fn request<'a>(&'a self, head: &'a request::Parts) -> Request<'a> {
        let host = || head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let authority = head.uri.authority().map(http::uri::Authority::as_str).or_else(host).unwrap_or_default();
        let target = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let (source, peer) = (Some(self.remote), self.connection.peer_uri());
        Request {
            head: Head { method: &head.method, scheme: self.scheme, authority, target, source, peer },
            headers: &head.headers,
        }
    }

    /// The route, if there is one.
    #[must_use]
    pub fn selection(&self) -> Option<&Selection> {
        match &self.route {
            Routed::To(selection) => Some(selection),
            Routed::Unasked | Routed::Nowhere(_) => None,
        }
    }

    /// Does to the headers of an answer to a request what its route does to every response. A route that answers by itself does
    /// it where it answers.
    pub(super) fn edit_response(&self, head: &request::Parts, headers: &mut HeaderMap) {
        let selected = self.selection().map(Selection::selected);
        if let Some(selected) = selected.filter(|selected| selected.forward().is_some()) {
            selected.edit_response(&self.request(head), headers);
        }
    }

    /// What the route says about the filter that is asked now.
    #[must_use]
    pub fn overriding(&self) -> Option<&FilterOverride> {
        self.selection()?.selected().filter(self.current.as_str())
    }

    /// The same on all levels of the route table, the most specific first.
    pub fn overrides(&self) -> impl Iterator<Item = &FilterOverride> {
        self.selection().into_iter().flat_map(|selection| selection.selected().filter_levels(self.current.as_str()))
    }

    /// The name of the filter that is asked now; empty if it has none.
    #[must_use]
    pub fn current(&self) -> &Text {
        &self.current
    }

    /// Has another route chosen before the next filter: what routes are chosen by has changed.
    pub fn reroute(&mut self) {
        self.route = Routed::Unasked;
    }

    /// Keeps something of the filter that is asked now until the response comes.
    pub fn keep<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        let name = self.current.clone();
        self.kept.get_or_insert_default::<Kept<T>>().0.push((name, value));
    }

    /// What the filter that is asked now has kept, if it has.
    pub fn take_kept<T: Clone + Send + Sync + 'static>(&mut self) -> Option<T> {
        let Kept(list) = self.kept.get_mut::<Kept<T>>()?;
        let at = list.iter().position(|(name, _)| *name == self.current)?;
        Some(list.swap_remove(at).1)
    }

    /// Notes why the response is not simply what the service said. The first reason is the one in words.
    pub fn note(&mut self, flag: Option<Flag>, details: impl Into<Text>) {
        if let Some(flag) = flag {
            self.flags.insert(flag);
        }
        if self.details.is_empty() {
            self.details = details.into();
        }
    }
}
