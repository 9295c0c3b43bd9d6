/// Declares the settings of a member of a mesh: its own, each with its default, and those that all members have.
///
/// They stand side by side in one file, where a setting that is unknown or wrong is named with its line; serde's `flatten`
/// would lose the line.
///
/// ```
/// mesh_host::member_settings! {
///     /// All settings of an example.
///     pub struct Settings {
///         /// Its port.
///         pub port: u16 = 80,
///     }
/// }
///
/// let settings: Settings = mesh_host::settings::parse("a.yaml".as_ref(), "port: 8080\ncluster_id: east\n")?;
/// assert_eq!((settings.port, settings.joining().cluster_id.as_str()), (8080, "east"));
/// # Ok::<(), mesh_host::settings::Error>(())
/// ```
#[macro_export]
macro_rules! member_settings {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[$about_own:meta])* pub $own:ident: $kind:ty = $default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$about_own])* pub $own: $kind,)*
            /// The trust domain of the control plane, and of whatever names none.
            pub trust_domain: String,
            /// The network that it is in. Empty is the default network.
            pub network: String,
            /// Id of the Kubernetes cluster, told to the control plane.
            pub cluster_id: String,
            /// Address of the control plane for discovery: `host:port`, or a URL (`http://` is plaintext). None: no control
            /// plane.
            pub control_plane: Option<String>,
            /// Further control planes for discovery, those of other regions: asked in this order while those before cannot be
            /// reached, and left when one of them is back. They must prove the same identity as the first.
            pub fallback_control_planes: Vec<String>,
            /// Address of the certificate service, where it is another than that of discovery.
            pub certificate_service: Option<String>,
            /// SPIFFE id that the control plane must prove. Default, unless a name is given:
            /// `spiffe://<trust domain>/ns/istio-system/sa/control-plane`.
            pub control_plane_id: Option<String>,
            /// DNS name that the control plane must prove instead, as istiod does.
            pub control_plane_name: Option<String>,
            /// PEM file of the trust domain's roots, for the first contact.
            pub trust_bundle: Option<::std::path::PathBuf>,
            /// File of the token that proves who this is; read anew for every call.
            pub token_file: Option<::std::path::PathBuf>,
            /// Directory of an authority that signs here instead of a certificate service: for tests and for machines without
            /// one. Either others put its files there (`root-cert.pem`, `ca-key.pem`, …), which are followed, or an empty
            /// directory gets a new root in `authority.json`, whose keys change by themselves while the program runs, with
            /// `root-cert.pem` beside it.
            pub local_authority: Option<::std::path::PathBuf>,
            /// Directory of what survives a restart: what the control plane said, certificates, bundles. Only its owner may
            /// read it. None: nothing survives.
            pub state_dir: Option<::std::path::PathBuf>,
            /// Where the admin endpoint listens.
            pub admin: ::std::net::SocketAddr,
            /// Where metrics are served as well, for scrapers outside; none by default.
            pub stats: Option<::std::net::SocketAddr>,
            /// Where readiness is served as well, for a kubelet; none by default.
            pub readiness: Option<::std::net::SocketAddr>,
            /// Life of certificates to ask for; the control plane decides.
            pub svid_ttl_seconds: u64,
            /// How long open connections may go on after SIGTERM.
            pub drain_seconds: u64,
            /// Threads that carry traffic; 0 for one per core.
            pub worker_threads: usize,
            /// The log.
            pub log: $crate::telemetry::Log,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($own: $default,)*
                    trust_domain: "cluster.local".to_owned(),
                    network: String::new(),
                    cluster_id: "Kubernetes".to_owned(),
                    control_plane: None,
                    fallback_control_planes: Vec::new(),
                    certificate_service: None,
                    control_plane_id: None,
                    control_plane_name: None,
                    trust_bundle: None,
                    token_file: None,
                    local_authority: None,
                    state_dir: None,
                    admin: (::std::net::Ipv4Addr::LOCALHOST, 15000).into(),
                    stats: None,
                    readiness: None,
                    svid_ttl_seconds: 24 * 60 * 60,
                    drain_seconds: 5,
                    worker_threads: 2,
                    log: $crate::telemetry::Log::default(),
                }
            }
        }

        impl $name {
            /// The control planes for discovery, in the order in which they are preferred.
            pub fn control_planes(&self) -> impl Iterator<Item = &str> {
                let further = self.control_plane.iter().flat_map(|_| &self.fallback_control_planes);
                self.control_plane.iter().chain(further).map(String::as_str)
            }

            /// How the program joins the mesh, as far as these settings say.
            #[must_use]
            pub fn joining(&self) -> $crate::member::Settings {
                $crate::member::Settings {
                    trust_domain: self.trust_domain.clone(),
                    cluster_id: self.cluster_id.clone(),
                    control_planes: self.control_planes().map(str::to_owned).collect(),
                    certificate_service: self.certificate_service.clone(),
                    control_plane_id: self.control_plane_id.clone(),
                    control_plane_name: self.control_plane_name.clone(),
                    trust_bundle: self.trust_bundle.clone(),
                    token_file: self.token_file.clone(),
                    local_authority: self.local_authority.clone(),
                    state_dir: self.state_dir.clone(),
                    svid_ttl: ::std::time::Duration::from_secs(self.svid_ttl_seconds),
                    ..$crate::member::Settings::default()
                }
            }
        }
    };
}
