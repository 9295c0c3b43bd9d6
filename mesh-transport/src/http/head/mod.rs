//! What is done to the heads of requests before anybody looks at them, and to those of responses before they leave. Pure:
//! no socket, no clock but for `date`.

mod check;
mod client_cert;
mod date;
mod forwarded;
mod hop_by_hop;
mod host;
mod refusal;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{DATE, EXPECT, HOST, SERVER, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use mesh_core::listener::{ClientCertHeader, ForwardedFor, HttpManager, ServerHeader, StripPort, Underscores};

use super::upgrade::from_extended;

pub use client_cert::ClientCertificate;
pub use forwarded::Requester;
pub(in crate::http) use hop_by_hop::strip_response;
pub use refusal::Refusal;

/// The sender of a connection's requests. Stands in the extensions of each.
#[derive(Debug, Clone)]
pub struct Downstream {
    /// Its address.
    pub peer: IpAddr,
    /// The port that it connected to.
    pub port: u16,
    /// Whether TLS protects the connection.
    pub is_secure: bool,
    /// What its certificate says, if it showed one that was verified.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Downstream {
    /// A connection without TLS.
    #[must_use]
    pub const fn new(peer: IpAddr, port: u16) -> Self {
        Self { peer, port, is_secure: false, certificate: None }
    }

    const fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// What an [`HttpManager`] says of heads.
#[derive(Clone)]
pub struct Rules {
    max_headers: usize,
    forwarded_for: ForwardedFor,
    client_cert: ClientCertHeader,
    strip_port: StripPort,
    strip_trailing_host_dot: bool,
    underscores: Underscores,
    generate_request_id: bool,
    server: Server,
}

#[derive(Clone)]
enum Server {
    Overwrite(HeaderValue),
    AppendIfAbsent(HeaderValue),
    PassThrough,
}

/// What was found in the head of a request that is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The client waits for 100 before it sends the body.
    pub expects_continue: bool,
    /// The connection may change protocols: by `upgrade` or CONNECT.
    pub upgrades: bool,
}

/// How servers are called in `server` where nothing else is said.
const NAME: &str = "mesh";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Says of a request that it came from inside.
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// Headers by which clients of our own network say how a request is to be treated; anybody else must not.
const CONTROL: [&str; 14] = [
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-decorator-operation",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-retriable-status-codes",
];

impl Rules {
    /// The rules of a manager. Paths are not among them: that is [`NormalizePath`](mesh_core::filter::NormalizePath).
    #[must_use]
    pub fn new(manager: &HttpManager) -> Self {
        let name = |text: &str| {
            let text = if text.is_empty() { NAME } else { text };
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(NAME))
        };
        let server = match &manager.server_header {
            ServerHeader::Overwrite(text) => Server::Overwrite(name(text.as_str())),
            ServerHeader::AppendIfAbsent(text) => Server::AppendIfAbsent(name(text.as_str())),
            ServerHeader::PassThrough => Server::PassThrough,
        };
        Self {
            max_headers: manager.limits.headers as usize,
            forwarded_for: manager.forwarded_for,
            client_cert: manager.client_cert,
            strip_port: manager.strip_port,
            strip_trailing_host_dot: manager.strip_trailing_host_dot,
            underscores: manager.underscores,
            generate_request_id: manager.generate_request_id,
            server,
        }
    }

    /// Lets a request in: in one form whatever version brought it, without what concerns its connection only, and with
    /// what is known of its client.
    ///
    /// # Errors
    /// It is to be refused.
    pub fn admit(&self, parts: &mut Parts, downstream: &Downstream) -> Result<Admitted, Refusal> {
        if parts.headers.len() > self.max_headers {
            return Err(Refusal::TooManyHeaders);
        }
        check::check(parts)?;
        let extended = parts.extensions.remove::<h2::ext::Protocol>();
        if extended.is_some() {
            parts.method = Method::GET;
        }
        host::unify(parts)?;
        let mut upgrades = hop_by_hop::strip_request(&mut parts.headers)? && parts.version == Version::HTTP_11;
        if let Some(protocol) = extended {
            from_extended(&mut parts.headers, protocol.as_str()).map_err(|_| Refusal::MalformedHeader(UPGRADE))?;
            upgrades = true;
        }
        let expects_continue = expectation(&mut parts.headers)?;
        self.underscores(&mut parts.headers)?;
        host::strip(parts, self.strip_port, downstream.port, self.strip_trailing_host_dot);

        let host = parts.headers.get(HOST).cloned();
        let client = forwarded::apply(&mut parts.headers, &self.forwarded_for, downstream, host.as_ref());
        // Whoever counts requests by it must hear it from here, whatever the client says of itself.
        parts.headers.remove(INTERNAL);
        if client.is_internal {
            parts.headers.insert(INTERNAL, HeaderValue::from_static("true"));
        }
        client_cert::apply(&mut parts.headers, self.client_cert, downstream.certificate.as_deref());
        let is_edge = self.forwarded_for.use_remote_address && !client.is_internal;
        if is_edge {
            for name in CONTROL {
                parts.headers.remove(name);
            }
        }
        if self.generate_request_id && (is_edge || !parts.headers.contains_key(REQUEST_ID)) {
            parts.headers.insert(REQUEST_ID, request_id());
        }
        parts.extensions.insert(client);
        Ok(Admitted { expects_continue, upgrades: upgrades || parts.method == Method::CONNECT })
    }

    /// Lets a response out: without what concerns the connection that it came on only, and with `server` and `date`.
    /// `switched` tells whether it changes protocols.
    pub fn finish(&self, headers: &mut HeaderMap, switched: bool) {
        strip_response(headers, switched);
        match &self.server {
            Server::Overwrite(name) => {
                headers.insert(SERVER, name.clone());
            }
            Server::AppendIfAbsent(name) => {
                headers.entry(SERVER).or_insert_with(|| name.clone());
            }
            Server::PassThrough => {}
        }
        headers.entry(DATE).or_insert_with(date::now);
    }

    fn underscores(&self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        if self.underscores == Underscores::Allow {
            return Ok(());
        }
        let has_underscore = |name: &&HeaderName| name.as_str().contains('_');
        let names: Vec<HeaderName> = headers.keys().filter(has_underscore).cloned().collect();
        if !names.is_empty() && self.underscores == Underscores::RejectRequest {
            return Err(Refusal::Underscore);
        }
        for name in names {
            headers.remove(name);
        }
        Ok(())
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("forwarded_for", &self.forwarded_for).finish_non_exhaustive()
    }
}

/// Whether 100 is waited for. It is our answer, so that nobody after us sees the question.
fn expectation(headers: &mut HeaderMap) -> Result<bool, Refusal> {
    let Some(value) = headers.remove(EXPECT) else { return Ok(false) };
    if value.as_bytes().eq_ignore_ascii_case(b"100-continue") { Ok(true) } else { Err(Refusal::Expectation) }
}

/// A random UUID (RFC 9562 section 5.4).
fn request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [b'-'; 36];
    let mut at = 0;
    for nibble in 0..32 {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        text[at] = DIGITS[(random >> (124 - 4 * nibble)) as usize & 0xf];
        at += 1;
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests;
