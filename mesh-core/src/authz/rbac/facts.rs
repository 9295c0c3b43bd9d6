use std::net::{IpAddr, SocketAddr};

use crate::name::Text;
use crate::request::{Metadata, Request};

/// What is known of a connection, and of a request on it, when it is authorized.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Where the connection leads.
    pub destination: SocketAddr,
    /// The other end of the socket.
    pub direct_remote: IpAddr,
    /// The client of the connection: the other end of the socket, unless a PROXY header names another.
    pub source: IpAddr,
    /// The client of the request: as `source`, unless a trusted `x-forwarded-for` names another.
    pub remote: IpAddr,
    /// The server name that the client asked for in TLS.
    pub server_name: Option<&'a str>,
    /// The peer of a connection over TLS; `None` for plaintext.
    pub peer: Option<Peer<'a>>,
    /// The request; `None` where connections are authorized.
    pub request: Option<Request<'a>>,
    /// What filters said of the request, such as the claims of a verified token; `None` where nobody could say anything.
    pub metadata: Option<&'a Metadata>,
}

impl<'a> Facts<'a> {
    /// A connection in plaintext.
    #[must_use]
    pub fn new(source: IpAddr, destination: SocketAddr) -> Self {
        Self {
            destination,
            direct_remote: source,
            source,
            remote: source,
            server_name: None,
            peer: None,
            request: None,
            metadata: None,
        }
    }

    /// The path of the request.
    pub(super) fn path(&self) -> Option<&'a str> {
        self.request.as_ref().map(Request::path)
    }
}

/// The peer of a connection over TLS, as its verified certificate names it; all empty when it showed none.
///
/// Its name is each of its URIs; if it has none, each of its DNS names; if it has none either, its subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peer<'a> {
    /// URIs among the subject alternative names.
    pub uris: &'a [Text],
    /// DNS names among the subject alternative names.
    pub dns_names: &'a [Text],
    /// The subject (RFC 2253).
    pub subject: &'a str,
}

impl Peer<'_> {
    pub(super) fn any_name(&self, is_match: impl Fn(&str) -> bool) -> bool {
        match self.names() {
            [] => is_match(self.subject),
            names => names.iter().any(|name| is_match(name.as_str())),
        }
    }

    /// The names of its best kind; none if it has but a subject.
    pub(super) fn names(&self) -> &[Text] {
        match (self.uris, self.dns_names) {
            ([], names) | (names, _) => names,
        }
    }

    /// Who the peer is to the mesh: its first URI.
    pub(super) fn principal(&self) -> Option<&str> {
        self.uris.first().map(Text::as_str)
    }
}
