use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{HeaderName, Method, Version, request};

use super::settings::{ExternalAuthz, HeaderChoice, Service, any};
use crate::companion::edit::is_protected;
use crate::filter::{Exchange, Metadata};
use crate::name::Text;
use crate::route::{BodyOverride, CheckBody, FilterOverride};

/// Tells the authorizer whether it sees the whole body.
const PARTIAL_BODY: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");

/// What an authorizer is asked: everything it may know about a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The client.
    pub source: Peer,
    /// We.
    pub destination: Peer,
    /// The method.
    pub method: Method,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host asked for, with the port if one was given.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// The version of HTTP.
    pub version: Version,
    /// The headers it may see, in order; with gRPC also the pseudo-headers.
    pub headers: Vec<(Text, Bytes)>,
    /// Whether the headers are to be given one by one, as bytes.
    pub raw_headers: bool,
    /// The number of the request, as `x-request-id` has it; empty if it has none.
    pub id: String,
    /// How long the body is, in bytes, where it is known.
    pub size: Option<u64>,
    /// The body, if it may see it.
    pub body: Option<CheckedBody>,
    /// What the route says to it.
    pub context: BTreeMap<Text, Text>,
    /// What filters said of the request, if it may know.
    pub metadata: Metadata,
    /// The server name that the client asked for in TLS, if it may know.
    pub server_name: Option<Text>,
}

/// An end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address; port 0 where only the IP is known.
    pub address: SocketAddr,
    /// Who it is: the first URI of its certificate, else its first DNS name, else its subject. Empty without certificate.
    pub principal: Text,
    /// Its certificate (DER), if it may be known.
    pub certificate: Option<Bytes>,
}

/// The body of a request, or the beginning of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBody {
    /// What there is of it.
    pub bytes: Bytes,
    /// Whether there is more.
    pub partial: bool,
    /// Whether it is given as bytes rather than as text.
    pub as_bytes: bool,
}

impl Check {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find_map(|(known, value)| (known == name).then_some(&**value))
    }

    pub(super) fn new(settings: &ExternalAuthz, head: &request::Parts, exchange: &Exchange) -> Self {
        let connection = &*exchange.connection;
        let seen = exchange.request(head);
        let told = Told::new(settings, exchange);
        let body = exchange.body.as_ref().zip(told.body).map(|(bytes, body)| {
            let most = usize::try_from(body.max_bytes).unwrap_or(usize::MAX);
            let partial = bytes.len() > most;
            CheckedBody { bytes: bytes.slice(..most.min(bytes.len())), partial, as_bytes: body.as_bytes }
        });
        let whole = body.as_ref().filter(|body| !body.partial).map(|body| body.bytes.len() as u64);
        let mut headers = visible(settings, head, exchange);
        if let Some(CheckedBody { partial, .. }) = &body {
            let partial: &'static str = if *partial { "true" } else { "false" };
            headers.push((Text::from(PARTIAL_BODY.as_str()), Bytes::from_static(partial.as_bytes())));
        }
        Self {
            source: Peer::client(settings, exchange),
            destination: Peer {
                address: connection.destination,
                principal: connection.local.as_ref().map(|id| id.to_string().into()).unwrap_or_default(),
                certificate: None,
            },
            method: head.method.clone(),
            scheme: exchange.scheme,
            authority: seen.head.authority.to_owned(),
            path: seen.head.target.to_owned(),
            version: head.version,
            headers,
            raw_headers: settings.raw_headers,
            id: head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned(),
            size: whole.or_else(|| content_length(head)),
            body,
            context: told.context,
            metadata: metadata(settings, exchange),
            server_name: connection.server_name.clone().filter(|_| settings.include_tls_session),
        }
    }
}

impl Peer {
    fn client(settings: &ExternalAuthz, exchange: &Exchange) -> Self {
        let source = exchange.connection.source;
        let address = match source.ip() == exchange.remote {
            true => source,
            false => SocketAddr::new(exchange.remote, 0),
        };
        let Some(names) = &exchange.connection.peer else {
            return Self { address, principal: Text::default(), certificate: None };
        };
        let principal = names.uris.first().or_else(|| names.dns_names.first()).unwrap_or(&names.subject).clone();
        let certificate = Some(&names.certificate).filter(|der| settings.include_peer_certificate && !der.is_empty());
        Self { address, principal, certificate: certificate.cloned() }
    }
}

/// What the filter and the levels of the route table say together.
pub(super) struct Told {
    context: BTreeMap<Text, Text>,
    pub(super) body: Option<CheckBody>,
}

impl Told {
    pub(super) fn new(settings: &ExternalAuthz, exchange: &Exchange) -> Self {
        let mut told = Self { context: BTreeMap::new(), body: settings.body };
        let levels = exchange.overrides().filter_map(|level| match level {
            FilterOverride::ExternalAuthz(level) => Some(level),
            _ => None,
        });
        for (at, level) in levels.enumerate() {
            for (key, value) in &level.context {
                told.context.entry(key.clone()).or_insert_with(|| value.clone());
            }
            match level.body {
                BodyOverride::Hidden if at == 0 => told.body = None,
                BodyOverride::Shown(body) if at == 0 => told.body = Some(body),
                _ => {}
            }
        }
        told
    }
}

fn metadata(settings: &ExternalAuthz, exchange: &Exchange) -> Metadata {
    let mut told = Metadata::default();
    for filter in &settings.metadata {
        if let Some(values) = exchange.metadata.of(filter.as_str()) {
            told.merge(filter.as_str(), values.clone());
        }
    }
    told
}

/// The headers that the authorizer sees.
fn visible(settings: &ExternalAuthz, head: &request::Parts, exchange: &Exchange) -> Vec<(Text, Bytes)> {
    let choice: &HeaderChoice = &settings.headers;
    // What the client says about the body would pass for what we say.
    let sent = head.headers.iter().filter(|(name, _)| **name != PARTIAL_BODY);
    let copy = |name: &HeaderName, value: &http::HeaderValue| {
        (Text::from(name.as_str()), Bytes::copy_from_slice(value.as_bytes()))
    };
    match &settings.service {
        Service::Grpc(_) => {
            let request = exchange.request(head).head;
            let pseudo = [
                (":authority", request.authority),
                (":method", request.method.as_str()),
                (":path", request.target),
                (":scheme", request.scheme),
            ];
            let pseudo = pseudo.into_iter().filter(|(name, value)| !value.is_empty() && choice.takes(name, true));
            let pseudo = pseudo.map(|(name, value)| (Text::from(name), Bytes::copy_from_slice(value.as_bytes())));
            let sent = sent.filter(|(name, _)| **name != HOST && choice.takes(name.as_str(), true));
            pseudo.chain(sent.map(|(name, value)| copy(name, value))).collect()
        }
        Service::Http(service) => {
            let sent = sent.filter(|(name, _)| {
                let always = **name == AUTHORIZATION && !any(&choice.disallowed, name.as_str());
                !is_protected(name) && (always || choice.takes(name.as_str(), false))
            });
            let added = service.add.iter().filter_map(|(name, value)| {
                let value = value.render(&exchange.request(head).head, &head.headers).into_owned();
                (!value.is_empty()).then(|| (Text::from(name.as_str()), Bytes::from(value)))
            });
            let added: Vec<_> = added.collect();
            let sent = sent.filter(|(name, _)| !service.add.iter().any(|(added, _)| added == *name));
            sent.map(|(name, value)| copy(name, value)).chain(added).collect()
        }
    }
}

fn content_length(head: &request::Parts) -> Option<u64> {
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
