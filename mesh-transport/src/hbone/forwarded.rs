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

/// A new `traceparent` (W3C Trace Context) with random ids, not sampled.
#[must_use]
pub fn traceparent() -> String {
    format!("00-{:032x}-{:016x}-00", fastrand::u128(1..), fastrand::u64(1..))
}
