//! Membership of a program in a mesh: whom it trusts, who issues its identities, and the channels to its control planes.

mod channel;
mod roots;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesh_identity::authority::Names;
use mesh_identity::clock::SystemClock;
use mesh_identity::file;
use mesh_identity::source::{CsrSource, Identities, LocalSource, SvidSource, TokenSource};
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_transport::socket::Sockets;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use trust::Trust;

/// What ends a program before it is asked to.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How a program is a member of a mesh.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The trust domain of the control plane.
    pub trust_domain: String,
    /// Id of the Kubernetes cluster, told to the control plane.
    pub cluster_id: String,
    /// Control planes for discovery, in the order in which they are preferred: `host:port`, or URLs (`http://` is plaintext).
    pub control_planes: Vec<String>,
    /// Address of the certificate service, where it is another than that of discovery.
    pub certificate_service: Option<String>,
    /// SPIFFE id that the control plane must prove. Default, unless a name is given:
    /// `spiffe://<trust domain>/ns/istio-system/sa/control-plane`.
    pub control_plane_id: Option<String>,
    /// DNS name that the control plane must prove instead, as istiod does.
    pub control_plane_name: Option<String>,
    /// Further headers of calls to the control plane.
    pub control_plane_headers: Vec<(String, String)>,
    /// PEM file of the trust domain's roots, for the first contact.
    pub trust_bundle: Option<PathBuf>,
    /// File of the token that proves who this is; read anew for every call.
    pub token_file: Option<PathBuf>,
    /// Directory of an authority that signs here instead of a certificate service.
    pub local_authority: Option<PathBuf>,
    /// Directory of what survives a restart.
    pub state_dir: Option<PathBuf>,
    /// Life of certificates to ask for.
    pub svid_ttl: Duration,
    /// Whether certificates are asked for on behalf of others; otherwise they are for who asks.
    pub impersonates: bool,
    /// How sockets are made.
    pub sockets: Sockets,
}

impl Default for Settings {
    /// The trust domain `cluster.local`, and nothing else: no control plane, no roots, nobody who issues.
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            control_planes: Vec::new(),
            certificate_service: None,
            control_plane_id: None,
            control_plane_name: None,
            control_plane_headers: Vec::new(),
            trust_bundle: None,
            token_file: None,
            local_authority: None,
            state_dir: None,
            svid_ttl: Duration::from_secs(24 * 60 * 60),
            impersonates: true,
            sockets: Sockets::new(),
        }
    }
}

/// What opens a stream to a control plane: its channel, and the headers of each call as of now.
pub type ControlPlane = Box<dyn FnMut() -> Result<(Channel, MetadataMap), Error> + Send>;

/// A member of a mesh.
#[derive(Debug)]
pub struct Member {
    settings: Settings,
    trust: Trust,
    token: Option<TokenSource>,
    identities: Identities,
}

impl Member {
    /// Joins: loads what is trusted and prepares who issues. What must go on while the program runs runs in `tasks`.
    ///
    /// # Errors
    /// What of the settings cannot work.
    pub async fn join(settings: Settings, tasks: &Tasks) -> Result<Self, Error> {
        if let Some(directory) = &settings.state_dir {
            file::private_directory(directory)?;
        }
        let trust = Trust::load(&settings).await?;
        if let Some(authority) = &trust.authority {
            tasks.spawn(Arc::clone(authority).keep());
        }
        if let Some(path) = &settings.token_file {
            // One that is not there yet may come; an empty one proves nothing to anybody.
            if file::read(path).is_ok_and(|text| text.trim_ascii().is_empty()) {
                return Err(format!("{}: the token file is empty", path.display()).into());
            }
        }
        let token = settings.token_file.clone().map(TokenSource::File);
        let identities = identities(&settings, &trust, token.as_ref(), tasks)?;
        Ok(Self { settings, trust, token, identities })
    }

    /// Identities, and whom they trust.
    #[must_use]
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// What opens streams to the control planes, one for each, in the order in which they are preferred.
    ///
    /// # Errors
    /// An address is none, or what the control plane must prove cannot be proven.
    pub fn connects(&self) -> Result<Vec<ControlPlane>, Error> {
        self.connects_with(None)
    }

    /// The same, as a member of the mesh: a control plane that is known by its SPIFFE id learns who this is by certificate,
    /// and not by the token, which may be that of a node, and so of all who are on it.
    ///
    /// # Errors
    /// As [`connects`](Self::connects).
    pub fn connects_as(&self, identity: &Identity) -> Result<Vec<ControlPlane>, Error> {
        self.connects_with(Some(identity))
    }

    fn connects_with(&self, identity: Option<&Identity>) -> Result<Vec<ControlPlane>, Error> {
        let mut connects: Vec<ControlPlane> = Vec::new();
        for address in &self.settings.control_planes {
            let channel = channel::channel(address, &self.settings, self.trust.live(), &self.trust.roots, identity)?;
            let by_certificate = identity.is_some() && channel::shows_certificate(address, &self.settings)?;
            let (settings, token) = (self.settings.clone(), self.token.clone().filter(|_| !by_certificate));
            connects.push(Box::new(move || Ok((channel.clone(), channel::headers(&settings, token.as_ref())?))));
        }
        Ok(connects)
    }
}

fn identities(
    settings: &Settings,
    trust: &Trust,
    token: Option<&TokenSource>,
    tasks: &Tasks,
) -> Result<Identities, Error> {
    let life = settings.svid_ttl;
    let source: Arc<dyn SvidSource> = if let Some(authority) = &trust.authority {
        Arc::new(LocalSource::new(Arc::clone(authority), life, Names::default()))
    } else {
        let address = settings.certificate_service.as_ref().or_else(|| settings.control_planes.first());
        let address =
            address.ok_or("no certificates: name a control plane, a certificate service or a local authority")?;
        let token = token.ok_or("no token: the certificate service wants to know who asks (token_file)")?.clone();
        let channel = channel::channel(address, settings, trust.live(), &trust.roots, None)?;
        let source = CsrSource::new(channel, token, life, Arc::new(SystemClock));
        Arc::new(if settings.impersonates { source } else { source.without_impersonation() })
    };
    let mut builder = Identities::builder(source, trust.bundles.clone());
    if let Some(cache) = &trust.cache {
        builder = builder.cache(cache.clone());
    }
    let identities = builder.build();
    let (learned, publisher) = (identities.bundles(), Arc::clone(&trust.publisher));
    tasks.spawn(async move {
        let mut changes = learned.changes();
        while let Ok(bundles) = changes.changed().await {
            publisher.publish_arc(bundles);
        }
    });
    Ok(identities)
}
