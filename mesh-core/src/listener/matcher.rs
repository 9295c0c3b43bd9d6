use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::name::{Hostname, Text};

/// Which connections a chain is for: all that have one value of every field that holds any. Envoy's `FilterChainMatch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FilterChainMatch {
    /// Port that the connection leads to.
    pub destination_port: Option<u16>,
    /// Ranges of the address that the connection leads to. A range of all addresses still wants its family.
    pub destination_ranges: BTreeSet<IpNet>,
    /// Server names asked for in TLS. A wildcard stands for one label or several.
    pub server_names: BTreeSet<Hostname>,
    /// What the connection begins with.
    pub transport_protocol: Option<TransportProtocol>,
    /// Application protocols offered in TLS, or found in plaintext.
    pub application_protocols: BTreeSet<Text>,
    /// Ranges of the other end of the socket.
    pub direct_source_ranges: BTreeSet<IpNet>,
    /// Where the client is.
    pub source_type: SourceType,
    /// Ranges of the client's address.
    pub source_ranges: BTreeSet<IpNet>,
    /// Ports of the client.
    pub source_ports: BTreeSet<u16>,
}

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportProtocol {
    /// Anything but TLS, or nothing looked.
    RawBuffer,
    /// A TLS handshake.
    Tls,
}

/// Where the client of a connection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SourceType {
    /// Anywhere.
    #[default]
    Any,
    /// On the same machine: at the address the connection leads to, or at a loopback address.
    SameIpOrLoopback,
    /// Elsewhere.
    External,
}

impl FilterChainMatch {
    /// Whether it asks for what only a TLS handshake tells. Application protocols of plaintext are found out otherwise, and
    /// are asked for together with `raw_buffer`.
    pub(super) fn needs_tls_inspection(&self) -> bool {
        match self.transport_protocol {
            Some(TransportProtocol::Tls) => true,
            Some(TransportProtocol::RawBuffer) => false,
            None => !self.server_names.is_empty() || !self.application_protocols.is_empty(),
        }
    }

    /// Whether there is a connection for which neither of two chains is the more specific one. A listener must not have
    /// such a pair.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        let Self {
            destination_port,
            destination_ranges,
            server_names,
            transport_protocol,
            application_protocols,
            direct_source_ranges,
            source_type,
            source_ranges,
            source_ports,
        } = self;
        *destination_port == other.destination_port
            && common(destination_ranges, &other.destination_ranges)
            && common(server_names, &other.server_names)
            && *transport_protocol == other.transport_protocol
            && common(application_protocols, &other.application_protocols)
            && common(direct_source_ranges, &other.direct_source_ranges)
            && *source_type == other.source_type
            && common(source_ranges, &other.source_ranges)
            && common(source_ports, &other.source_ports)
    }
}

/// Whether two fields have a value in common, where an empty one stands for the absence of a condition.
fn common<T: Ord>(left: &BTreeSet<T>, right: &BTreeSet<T>) -> bool {
    left.is_empty() && right.is_empty() || !left.is_disjoint(right)
}
