//! Settings of the waypoint: a YAML file, read strictly.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mesh_core::name::{Locality, NamespacedName, ServiceAccount, SpiffeId, parse_trust_domain};
use mesh_host::member;
use mesh_host::telemetry::Log;
use mesh_transport::socket::Sockets;
use serde::Deserialize;

/// All settings. What has no default must be given.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The waypoint that this is an instance of.
    pub waypoint: Waypoint,
    /// The trust domain.
    pub trust_domain: String,
    /// The network that this instance is in. Empty is the default network.
    pub network: String,
    /// Id of the Kubernetes cluster, told to the control plane.
    pub cluster_id: String,
    /// Domain of Kubernetes services.
    pub cluster_domain: String,
    /// Where this instance is: region, zone and sub-zone.
    pub locality: Place,
    /// Address of the control plane: `host:port`, or a URL (`http://` is plaintext). None: programmed by `manifests`.
    pub control_plane: Option<String>,
    /// Further control planes, those of other regions: asked in this order while those before cannot be reached.
    pub fallback_control_planes: Vec<String>,
    /// A file of manifests, or a directory of such files, that program the waypoint instead of a control plane. Followed as
    /// they change; what is wrong leaves in force what was.
    pub manifests: Option<PathBuf>,
    /// How often manifests are looked at, in milliseconds.
    pub poll_interval_ms: u64,
    /// Address of the certificate service, where it is another than that of the control plane.
    pub certificate_service: Option<String>,
    /// SPIFFE id that the control plane must prove. Default, unless a name is given:
    /// `spiffe://<trust domain>/ns/istio-system/sa/control-plane`.
    pub control_plane_id: Option<String>,
    /// DNS name that the control plane must prove instead, as istiod does.
    pub control_plane_name: Option<String>,
    /// PEM file of the trust domain's roots, for the first contact.
    pub trust_bundle: Option<PathBuf>,
    /// File of the token that proves who this is; read anew for every call.
    pub token_file: Option<PathBuf>,
    /// Directory of an authority that signs here instead of a certificate service: for tests and for machines without one.
    pub local_authority: Option<PathBuf>,
    /// Directory of what survives a restart: configuration and certificates. Only its owner may read it.
    pub state_dir: Option<PathBuf>,
    /// Where tunnels arrive. None: there are no tunnels, and no identity; listeners that bind serve in plaintext.
    pub hbone: Option<SocketAddr>,
    /// The listener that gets what comes out of tunnels.
    pub listener: String,
    /// Where the admin endpoint listens.
    pub admin: SocketAddr,
    /// Where metrics are served as well, for scrapers outside; none by default.
    pub stats: Option<SocketAddr>,
    /// Where readiness is served as well, for a kubelet; none by default.
    pub readiness: Option<SocketAddr>,
    /// Life of certificates to ask for; the control plane decides.
    pub svid_ttl_seconds: u64,
    /// How long open connections may go on after SIGTERM.
    pub drain_seconds: u64,
    /// Threads that carry traffic; 0 for one per core.
    pub worker_threads: usize,
    /// The log.
    pub log: Log,
}

/// The waypoint that a process is an instance of.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Waypoint {
    /// Name of its Gateway.
    pub name: String,
    /// Namespace of its Gateway.
    pub namespace: String,
    /// Its service account; that of the Gateway's name by default.
    pub service_account: Option<String>,
    /// Name of this instance: its pod.
    pub pod: String,
    /// Address of this instance.
    pub ip: IpAddr,
}

impl Default for Waypoint {
    fn default() -> Self {
        Self {
            name: "waypoint".to_owned(),
            namespace: "default".to_owned(),
            service_account: None,
            pod: "waypoint".to_owned(),
            ip: Ipv4Addr::LOCALHOST.into(),
        }
    }
}

/// Where something is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// Region.
    pub region: String,
    /// Zone in the region.
    pub zone: String,
    /// Part of the zone.
    pub subzone: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waypoint: Waypoint::default(),
            trust_domain: "cluster.local".to_owned(),
            network: String::new(),
            cluster_id: "Kubernetes".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            locality: Place::default(),
            control_plane: None,
            fallback_control_planes: Vec::new(),
            manifests: None,
            poll_interval_ms: 1000,
            certificate_service: None,
            control_plane_id: None,
            control_plane_name: None,
            trust_bundle: None,
            token_file: None,
            local_authority: None,
            state_dir: None,
            hbone: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 15008))),
            listener: "main_internal".to_owned(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 15000)),
            stats: None,
            readiness: None,
            svid_ttl_seconds: 24 * 60 * 60,
            drain_seconds: 5,
            worker_threads: 2,
            log: Log::default(),
        }
    }
}

impl Settings {
    /// Whether the settings fit each other.
    ///
    /// # Errors
    /// Which do not, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        match (&self.control_plane, &self.manifests) {
            (Some(_), Some(_)) => {
                Err("control_plane and manifests: only one of them may program the waypoint".to_owned())
            }
            (None, None) => Err("nothing programs the waypoint: name a control_plane, or manifests".to_owned()),
            _ => Ok(()),
        }?;
        if !self.fallback_control_planes.is_empty() && self.control_plane.is_none() {
            return Err("fallback_control_planes: there is no control_plane that they are a fallback of".to_owned());
        }
        self.identity().map(drop).map_err(|error| format!("waypoint: {error}"))
    }

    /// Who the waypoint is.
    ///
    /// # Errors
    /// Trust domain, namespace or service account are none.
    pub fn identity(&self) -> Result<SpiffeId, member::Error> {
        let domain = parse_trust_domain(&self.trust_domain)?;
        let Waypoint { name, namespace, service_account, .. } = &self.waypoint;
        Ok(ServiceAccount::new(domain, namespace, service_account.as_ref().unwrap_or(name))?.to_spiffe_id())
    }

    /// The Gateway of the waypoint.
    #[must_use]
    pub fn gateway(&self) -> NamespacedName {
        NamespacedName::new(self.waypoint.namespace.as_str(), self.waypoint.name.as_str())
    }

    /// Where this instance is.
    #[must_use]
    pub fn locality(&self) -> Locality {
        Locality::new(&self.locality.region, &self.locality.zone, &self.locality.subzone)
    }

    /// Membership in the mesh.
    #[must_use]
    pub fn member(&self) -> member::Settings {
        let further = self.control_plane.iter().flat_map(|_| &self.fallback_control_planes);
        member::Settings {
            trust_domain: self.trust_domain.clone(),
            cluster_id: self.cluster_id.clone(),
            control_planes: self.control_plane.iter().chain(further).cloned().collect(),
            certificate_service: self.certificate_service.clone(),
            control_plane_id: self.control_plane_id.clone(),
            control_plane_name: self.control_plane_name.clone(),
            control_plane_headers: Vec::new(),
            trust_bundle: self.trust_bundle.clone(),
            token_file: self.token_file.clone(),
            local_authority: self.local_authority.clone(),
            state_dir: self.state_dir.clone(),
            svid_ttl: Duration::from_secs(self.svid_ttl_seconds),
            // To istiod a waypoint is who it is; to our control plane its node vouches for it.
            impersonates: self.control_plane_name.is_none(),
            sockets: Sockets::new(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_named() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings { manifests: Some("mesh.yaml".into()), ..Settings::default() };
            change(&mut settings);
            settings.check().map_err(|problem| problem.to_string())
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert!(with(|settings| settings.manifests = None).unwrap_err().contains("name a control_plane, or manifests"));
        assert!(with(|settings| settings.control_plane = Some("a:1".into())).unwrap_err().contains("only one"));
        assert!(with(|settings| settings.fallback_control_planes = vec!["a:1".into()]).unwrap_err().contains("fallback"));
        assert!(with(|settings| settings.waypoint.namespace = "a/b".into()).unwrap_err().starts_with("waypoint: "));
    }

    #[test]
    fn who_it_is_follows_from_the_gateway_unless_said_otherwise() {
        let mut settings = Settings::default();
        assert_eq!(settings.identity().unwrap().to_string(), "spiffe://cluster.local/ns/default/sa/waypoint");
        settings.waypoint.service_account = Some("other".into());
        assert_eq!(settings.identity().unwrap().to_string(), "spiffe://cluster.local/ns/default/sa/other");
    }
}
