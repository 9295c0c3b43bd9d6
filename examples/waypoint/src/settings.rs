//! Settings of the waypoint: a YAML file, read strictly.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use mesh_core::config::Whereabouts;
use mesh_core::name::{Locality, NamespacedName, ServiceAccount, SpiffeId, parse_trust_domain};
use mesh_host::member;
use serde::Deserialize;

mesh_host::member_settings! {
    /// All settings. What has no default must be given.
    pub struct Settings {
        /// The waypoint that this is an instance of.
        pub waypoint: Waypoint = Waypoint::default(),
        /// Domain of Kubernetes services.
        pub cluster_domain: String = "cluster.local".to_owned(),
        /// Where this instance is: region, zone and sub-zone.
        pub locality: Place = Place::default(),
        /// The cluster whose endpoints are the instances of this waypoint: how many there are in which zone decides how much
        /// of their traffic can stay in its zone. Empty: this one is alone, and requests stay only where a cluster forces
        /// them to.
        pub local_cluster: String = String::new(),
        /// Certificates and authorities that listeners and clusters name, by their names. The waypoint's own identity and whom
        /// it trusts are called `default` and `ROOTCA`.
        pub secrets: BTreeMap<String, SecretFiles> = BTreeMap::new(),
        /// A file of manifests, or a directory of such files, that program the waypoint instead of a control plane. Followed as
        /// they change; what is wrong leaves in force what was.
        pub manifests: Option<PathBuf> = None,
        /// How often manifests are looked at, in milliseconds.
        pub poll_interval_ms: u64 = 1000,
        /// Where tunnels arrive. None: there are no tunnels, and no identity; listeners that bind serve as they say.
        pub hbone: Option<SocketAddr> = Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 15008))),
        /// The listener that gets what comes out of tunnels.
        pub listener: String = "main_internal".to_owned(),
    }
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

/// The files of a secret, in PEM: a certificate with its key, or authorities. They are followed as they change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretFiles {
    /// The certificate, and those that issued it.
    pub certificate: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
    /// The authorities.
    pub roots: Option<PathBuf>,
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

    /// Where this instance is, and who is beside it.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts { locality: self.locality(), cluster: self.local_cluster.as_str().into() }
    }

    /// Membership in the mesh.
    #[must_use]
    pub fn member(&self) -> member::Settings {
        // To istiod a waypoint is who it is; to our control plane its node vouches for it.
        member::Settings { impersonates: self.control_plane_name.is_none(), ..self.joining() }
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
        assert!(
            with(|settings| settings.fallback_control_planes = vec!["a:1".into()]).unwrap_err().contains("fallback")
        );
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
