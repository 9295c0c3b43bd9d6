use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a Workload API listens (SPIFFE Workload Endpoint section 4): the value of `SPIFFE_ENDPOINT_SOCKET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///absolute/path`.
    Unix(PathBuf),
    /// `tcp://address:port`. Only where the network itself tells who calls.
    Tcp(SocketAddr),
}

/// The environment variable in which a process finds its Workload API (SPIFFE Workload Endpoint section 4).
const VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

impl Endpoint {
    /// The endpoint that `SPIFFE_ENDPOINT_SOCKET` names.
    ///
    /// # Errors
    /// [`EndpointError`] when the variable is not set or holds no address.
    #[expect(clippy::disallowed_methods, reason = "the variable is part of the standard, not a setting of ours")]
    pub fn from_env() -> Result<Self, EndpointError> {
        match std::env::var(VARIABLE) {
            Ok(text) => text.parse(),
            Err(_) => Err(EndpointError { text: format!("${VARIABLE}"), why: "the variable is not set" }),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refuse = |why| Err(EndpointError { text: text.to_owned(), why });
        let Some((scheme, rest)) = text.split_once(':') else { return refuse("no scheme") };
        if text.contains(['?', '#']) {
            return refuse("query and fragment are not allowed");
        }
        match scheme {
            "unix" => match rest.strip_prefix("//") {
                Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
                Some(_) => refuse("a Unix endpoint has no authority: three slashes are needed"),
                // The form without slashes is used by gRPC's own resolvers, and SPIFFE's clients accept it.
                None if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
                None => refuse("the path must be absolute"),
            },
            "tcp" => match rest.strip_prefix("//").map(str::parse) {
                Some(Ok(address)) => Ok(Self::Tcp(address)),
                _ => refuse("an IP address and a port are needed, no name and no path"),
            },
            _ => refuse("the scheme must be `unix` or `tcp`"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// A text is no address of a Workload API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a Workload API: {why}")]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!("unix:///run/x.sock".parse(), Ok(Endpoint::Unix("/run/x.sock".into())));
        assert_eq!("unix:/run/x.sock".parse(), Ok(Endpoint::Unix("/run/x.sock".into())));
        assert_eq!("tcp://127.0.0.1:80".parse(), Ok(Endpoint::Tcp(([127, 0, 0, 1], 80).into())));
        assert_eq!("tcp://[::1]:80".parse::<Endpoint>().unwrap().to_string(), "tcp://[::1]:80");
        for bad in [
            "",
            "/run/x.sock",
            "unix://host/p",
            "unix:rel",
            "unix://",
            "unix:///a?b",
            "unix:///a#b",
            "tcp://name:1",
            "tcp://1.2.3.4:1/x",
            "tcp://1.2.3.4",
            "tcp:1.2.3.4:1",
            "http://1.2.3.4:1",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
