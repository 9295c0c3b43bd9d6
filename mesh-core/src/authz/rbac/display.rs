//! Conditions in words, for explanations.

use std::fmt;

use super::policy::{Permission, Principal};

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::And(all) => list(f, "all of", all),
            Self::Or(some) => list(f, "one of", some),
            Self::Not(condition) => write!(f, "not {condition}"),
            Self::Header(matcher) => write!(f, "header {matcher}"),
            Self::Path(pattern) => write!(f, "path {pattern}"),
            Self::PathTemplate(template) => write!(f, "path like {template}"),
            Self::Metadata(matcher) => matcher.fmt(f),
            Self::DestinationIp(range) => write!(f, "destination address in {range}"),
            Self::DestinationPort(port) => write!(f, "destination port {port}"),
            Self::DestinationPorts(ports) => write!(f, "destination port from {} below {}", ports.start, ports.end),
            Self::ServerName(pattern) => write!(f, "server name {pattern}"),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anybody"),
            Self::And(all) => list(f, "all of", all),
            Self::Or(some) => list(f, "one of", some),
            Self::Not(condition) => write!(f, "not {condition}"),
            Self::Authenticated(None) => f.write_str("a peer over TLS"),
            Self::Authenticated(Some(pattern)) => write!(f, "certificate of {pattern}"),
            Self::PeerPrincipal(pattern) => write!(f, "peer {pattern}"),
            Self::Metadata(matcher) => matcher.fmt(f),
            Self::SourceIp(range) => write!(f, "source address in {range}"),
            Self::DirectRemoteIp(range) => write!(f, "address of the connection in {range}"),
            Self::RemoteIp(range) => write!(f, "address of the client in {range}"),
            Self::Header(matcher) => write!(f, "header {matcher}"),
            Self::Path(pattern) => write!(f, "path {pattern}"),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, what: &str, conditions: &[T]) -> fmt::Result {
    write!(f, "{what} (")?;
    conditions.iter().enumerate().try_for_each(|(at, condition)| match at {
        0 => condition.fmt(f),
        _ => write!(f, ", {condition}"),
    })?;
    f.write_str(")")
}
