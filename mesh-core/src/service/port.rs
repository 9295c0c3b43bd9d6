use smallvec::SmallVec;

/// One port of a service and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Port that clients address.
    pub service_port: u16,
    /// Port of the endpoint; `None` in a service means that each endpoint decides (a named target port).
    pub target_port: Option<u16>,
    /// What is spoken on it.
    pub protocol: AppProtocol,
}

/// The ports of a service, or of one endpoint of it, in ascending order of service port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortMap(SmallVec<[ServicePort; 2]>);

impl PortMap {
    /// The entry of a service port.
    #[must_use]
    pub fn get(&self, service_port: u16) -> Option<&ServicePort> {
        self.0.binary_search_by_key(&service_port, |port| port.service_port).ok().map(|index| &self.0[index])
    }

    /// The endpoint's port behind a service port, where this map decides it.
    #[must_use]
    pub fn target(&self, service_port: u16) -> Option<u16> {
        self.get(service_port).and_then(|port| port.target_port)
    }

    /// All ports in ascending order.
    pub fn iter(&self) -> std::slice::Iter<'_, ServicePort> {
        self.0.iter()
    }

    /// How many ports there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<ServicePort> for PortMap {
    /// Of two entries for one service port the later wins.
    fn from_iter<I: IntoIterator<Item = ServicePort>>(ports: I) -> Self {
        let mut map = SmallVec::<[ServicePort; 2]>::new();
        for port in ports {
            match map.binary_search_by_key(&port.service_port, |known| known.service_port) {
                Ok(index) => map[index] = port,
                Err(index) => map.insert(index, port),
            }
        }
        Self(map)
    }
}

impl<'a> IntoIterator for &'a PortMap {
    type Item = &'a ServicePort;
    type IntoIter = std::slice::Iter<'a, ServicePort>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The protocol spoken on a port, as far as it was declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AppProtocol {
    /// Not declared.
    #[default]
    Unknown,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
    /// Opaque TCP.
    Tcp,
    /// TLS of the application's own.
    Tls,
}
