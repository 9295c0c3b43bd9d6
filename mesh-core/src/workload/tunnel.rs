/// How a workload is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TunnelProtocol {
    /// Plain TCP: the workload is outside the mesh.
    #[default]
    None,
    /// HTTP/2 CONNECT over mutual TLS at port 15008.
    Hbone,
}

/// Whether the address of a workload is its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkMode {
    /// The address belongs to this workload.
    #[default]
    Standard,
    /// The address is that of the node: several workloads share it, so it identifies none of them.
    HostNetwork,
}

/// How streams are handed over after the tunnel ended at a workload that is itself a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApplicationTunnel {
    /// What precedes the bytes of the stream.
    pub protocol: ApplicationProtocol,
    /// Port that replaces the one asked for, if any.
    pub port: Option<u16>,
}

/// What precedes the bytes of a stream that is handed to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApplicationProtocol {
    /// Nothing.
    None,
    /// A PROXY protocol version 2 header.
    Proxy,
}
