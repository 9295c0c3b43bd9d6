use std::net::SocketAddr;

/// The `forwarded` header (RFC 7239) as HBONE uses it: `for="<client>"`, and `host=<service>` when the traffic was
/// addressed to a service. Only `host` is ever read, for telemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Address of the client.
    pub client: SocketAddr,
    /// Host name of the service that was addressed.
    pub host: Option<String>,
}

impl Forwarded {
    /// The header value.
    #[must_use]
    pub fn to_value(&self) -> String {
        match &self.host {
            Some(host) => format!("for=\"{}\";host={host}", self.client),
            None => format!("for=\"{}\"", self.client),
        }
    }

    /// The `host` of a message's first `forwarded` header.
    #[must_use]
    pub fn host(headers: &http::HeaderMap) -> Option<&str> {
        let value = headers.get("forwarded")?.to_str().ok()?;
        value.split(';').find_map(|part| part.trim().strip_prefix("host="))
    }
}

/// The trace that a connection belongs to: the id of its `traceparent` header (W3C Trace Context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// A new random one.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u128(1..))
    }

    /// That of a message; `None` when the header is absent or malformed, as the specification asks.
    #[must_use]
    pub fn of(headers: &http::HeaderMap) -> Option<Self> {
        let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
        let (version, id, parent, _flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if version.len() != 2 || version == "ff" || id.len() != 32 || parent.len() != 16 {
            return None;
        }
        if ![version, id, parent].into_iter().all(is_hex) {
            return None;
        }
        u128::from_str_radix(id, 16).ok().filter(|id| *id != 0).map(Self)
    }
}

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A `traceparent` of a trace, with a random span id, not sampled.
#[must_use]
pub fn traceparent(trace: TraceId) -> String {
    format!("00-{trace}-{:016x}-00", fastrand::u64(1..))
}
