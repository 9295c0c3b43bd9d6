//! A listener: whether it can be served, who may attach, and what of TLS it refers to.

use std::collections::BTreeMap;
use std::fmt;

use mesh_core::name::{Hostname, NamespacedName};

use super::certificate::{Authorities, authorities, certificate};
use super::reference::group;
use super::{Conflict, Read, RefFault, Referrer, Role};
use crate::resource::{self, ClientValidation, FrontendTls, Kind, ObjectId, RouteKind};

/// Ports at which the proxies themselves listen: administration, metrics, readiness.
const TAKEN_PORTS: [u16; 4] = [15_000, 15_020, 15_021, 15_090];

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP in plaintext, of both versions.
    Http,
    /// HTTP in TLS.
    Https,
    /// TLS, by server name.
    Tls,
    /// Bytes.
    Tcp,
    /// Tunnels of the mesh.
    Hbone,
    /// Something else, which is not served.
    Other,
}

/// A listener of a Gateway or ListenerSet.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// The Gateway or ListenerSet in which it stands.
    pub owner: ObjectId,
    /// Its name, which is one of its owner's.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The host it is for; any when absent.
    pub hostname: Option<Hostname>,
    /// Whether it can be served at all.
    pub accepted: Result<(), ListenerFault>,
    /// Why it cannot be told from others; then it is not served.
    pub conflict: Option<Conflict>,
    /// The kinds of routes that may attach.
    pub kinds: Vec<Kind>,
    /// Kinds that it names, and that it cannot have.
    pub invalid_kinds: Vec<String>,
    /// TLS, of the protocols that have it.
    pub tls: Option<Tls>,
    /// Whether another listener of its port ends TLS for a name that is within its own, or around it.
    pub overlaps: bool,
    /// The routes that attach to it, the one that counts before the other first. They are here whether it is served or not.
    pub routes: Vec<Attached>,
}

/// A route that attaches to a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The route.
    pub route: ObjectId,
    /// The hosts that both are for; those of the listener when there is none.
    pub hostnames: Vec<Hostname>,
    /// Whether it is accepted. One that is not accepted for its rules is here all the same: its requests are answered with
    /// errors, and none goes by what it demands.
    pub is_accepted: bool,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Whether it is passed through; it is ended otherwise.
    pub is_passthrough: bool,
    /// The Secrets that hold certificates with their keys.
    pub certificates: Vec<Result<NamespacedName, RefFault>>,
    /// What implementations understand beside.
    pub options: BTreeMap<String, String>,
    /// Whose clients are believed; `None` where they need no certificate.
    pub clients: Option<ClientAuthentication>,
}

/// Which certificates of clients are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuthentication {
    /// Who signs them.
    pub authorities: Vec<Result<Authorities, RefFault>>,
    /// Whether clients without a certificate, or with one that is not believed, are let in all the same.
    pub is_optional: bool,
}

/// Why a listener is not served, whatever there is beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerFault {
    /// Nothing of ours speaks the protocol.
    Protocol(String),
    /// A field has a value that is not supported.
    Value(String),
    /// The proxies need the port themselves.
    Port(u16),
    /// Clients would have to be verified, and there is no authority to do it by.
    NoAuthority,
    /// There are more than so many listeners.
    TooMany(usize),
}

impl Listener {
    /// The listener of a Gateway or ListenerSet, with no routes yet, and as if it were alone.
    pub(super) fn new(
        read: &impl Read,
        role: Role,
        (gateway, owner): (&NamespacedName, &ObjectId),
        listener: &resource::Listener,
        frontend: &FrontendTls,
    ) -> Self {
        let protocol = Protocol::of(&listener.protocol, role);
        let from = Referrer { kind: owner.kind, namespace: owner.name.namespace.as_str() };
        let has_tls = matches!(protocol, Protocol::Https | Protocol::Tls);
        let mut tls = listener.tls.as_ref().filter(|_| has_tls).map(|tls| tls_of(read, from, tls));
        if protocol == Protocol::Https {
            let of_port = frontend.per_port.iter().find(|one| one.port == listener.port).map(|one| &one.tls);
            let validation = of_port.unwrap_or(&frontend.default).validation.as_ref();
            // It is the Gateway that refers to them, also for the listeners of a ListenerSet.
            let from = Referrer { kind: Kind::Gateway, namespace: gateway.namespace.as_str() };
            if let (Some(tls), Some(validation)) = (&mut tls, validation) {
                tls.clients = Some(clients(read, from, validation));
            }
        }
        let hostname = listener.hostname.as_deref().filter(|name| !name.is_empty());
        let hostname = hostname.map(|name| Hostname::parse(name).map_err(|_| name));
        let accepted = match (protocol, &hostname, &tls) {
            (Protocol::Other, ..) => Err(ListenerFault::Protocol(listener.protocol.clone())),
            (_, Some(Err(name)), _) => Err(ListenerFault::Value(format!("hostname `{name}`"))),
            (_, _, None) if has_tls => Err(ListenerFault::Value("`tls` is missing".to_owned())),
            (Protocol::Https, _, Some(tls)) if tls.is_passthrough => {
                Err(ListenerFault::Value("HTTPS cannot be passed through".to_owned()))
            }
            _ if TAKEN_PORTS.contains(&listener.port) => Err(ListenerFault::Port(listener.port)),
            (_, _, Some(tls)) if tls.clients.as_ref().is_some_and(ClientAuthentication::is_void) => {
                Err(ListenerFault::NoAuthority)
            }
            _ => Ok(()),
        };
        let (kinds, invalid_kinds) = match accepted {
            Err(ListenerFault::Protocol(_) | ListenerFault::Value(_)) => (Vec::new(), Vec::new()),
            _ => protocol.admitted(&listener.allowed_routes.kinds),
        };
        Self {
            owner: owner.clone(),
            name: listener.name.clone(),
            port: listener.port,
            protocol,
            hostname: hostname.and_then(Result::ok),
            accepted,
            conflict: None,
            kinds,
            invalid_kinds,
            tls,
            overlaps: false,
            routes: Vec::new(),
        }
    }

    /// What is wrong with the first certificate or authority that cannot be used.
    #[must_use]
    pub fn certificate_fault(&self) -> Option<&RefFault> {
        self.tls.as_ref().filter(|tls| !tls.is_passthrough)?.certificates.iter().find_map(|one| one.as_ref().err())
    }

    /// What is wrong with the first authority for clients that cannot be used.
    #[must_use]
    pub fn authority_fault(&self) -> Option<&RefFault> {
        self.tls.as_ref()?.clients.as_ref()?.authorities.iter().find_map(|one| one.as_ref().err())
    }

    /// How many routes are accepted.
    #[must_use]
    pub fn accepted_routes(&self) -> usize {
        self.routes.iter().filter(|route| route.is_accepted).count()
    }

    /// Whether it is served.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.accepted.is_ok() && self.conflict.is_none() && self.certificate_fault().is_none()
    }
}

impl Protocol {
    /// The protocol of a name at Gateways of a role.
    fn of(name: &str, role: Role) -> Self {
        match (name, role) {
            ("HBONE", Role::Waypoint | Role::EastWest | Role::Remote) => Self::Hbone,
            ("HTTP", Role::Gateway | Role::Remote) => Self::Http,
            ("HTTPS", Role::Gateway | Role::Remote) => Self::Https,
            ("TLS", Role::Gateway | Role::EastWest | Role::Remote) => Self::Tls,
            ("TCP", Role::Gateway | Role::Remote) => Self::Tcp,
            _ => Self::Other,
        }
    }

    /// The kinds of routes that there are for it.
    #[must_use]
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Http | Self::Https => &[Kind::HttpRoute, Kind::GrpcRoute],
            Self::Tls => &[Kind::TlsRoute],
            Self::Tcp => &[Kind::TcpRoute],
            Self::Hbone | Self::Other => &[],
        }
    }

    /// Of the kinds that a listener names those that it can have, and the names of the others; all that it can have when it
    /// names none.
    fn admitted(self, named: &[RouteKind]) -> (Vec<Kind>, Vec<String>) {
        if named.is_empty() {
            return (self.kinds().to_vec(), Vec::new());
        }
        let (mut kinds, mut invalid) = (Vec::new(), Vec::new());
        for one in named {
            let of_group = group(one.group.as_deref().unwrap_or("gateway.networking.k8s.io"));
            match Kind::of(of_group, &one.kind).filter(|kind| self.kinds().contains(kind)) {
                Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
                Some(_) => {}
                None => invalid.push(one.kind.clone()),
            }
        }
        (kinds, invalid)
    }
}

impl ClientAuthentication {
    /// Whether nobody could be verified by it.
    #[must_use]
    pub fn is_void(&self) -> bool {
        !self.authorities.iter().any(Result::is_ok)
    }
}

fn tls_of(read: &impl Read, from: Referrer<'_>, tls: &resource::ListenerTls) -> Tls {
    let is_passthrough = tls.mode.as_deref() == Some("Passthrough");
    // What is passed through is nobody's business.
    let refs = tls.certificate_refs.iter().filter(|_| !is_passthrough);
    Tls {
        is_passthrough,
        certificates: refs.map(|one| certificate(read, from, one)).collect(),
        options: tls.options.clone(),
        clients: None,
    }
}

fn clients(read: &impl Read, from: Referrer<'_>, validation: &ClientValidation) -> ClientAuthentication {
    ClientAuthentication {
        authorities: validation.ca_certificate_refs.iter().map(|one| authorities(read, from, one)).collect(),
        is_optional: validation.mode.as_deref() == Some("AllowInsecureFallback"),
    }
}

impl ListenerFault {
    /// The reason, as conditions have it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Protocol(_) => "UnsupportedProtocol",
            Self::Value(_) => "UnsupportedValue",
            Self::Port(_) => "PortUnavailable",
            Self::NoAuthority => "NoValidCACertificate",
            Self::TooMany(_) => "TooManyListeners",
        }
    }
}

impl fmt::Display for ListenerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol) => write!(f, "protocol `{protocol}` is not served by Gateways of this class"),
            Self::Value(text) => write!(f, "{text}: not supported"),
            Self::Port(port) => write!(f, "the proxies need port {port} themselves"),
            Self::NoAuthority => f.write_str("there is no authority to verify clients by"),
            Self::TooMany(most) => write!(f, "the Gateway has {most} listeners already"),
        }
    }
}
