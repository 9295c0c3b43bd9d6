//! The bootstrap file of gRPC's xDS clients, so that a program may be moved to this one without another. gRFC A27, A47, A71,
//! A81, A95.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value as Json;

use super::fallback::Fallback;
use super::known::OnDataError;
use super::machine::{ServerTraits, Variant};
use super::watch::{Client, Driver, Group};
use crate::pb::{Locality, Node, structure};
use crate::resource::ResourceName;

/// Environment variable with the path of the file.
pub const FILE_VARIABLE: &str = "GRPC_XDS_BOOTSTRAP";

/// Environment variable with the content of the file.
pub const CONTENT_VARIABLE: &str = "GRPC_XDS_BOOTSTRAP_CONFIG";

/// What a client knows before it knows anything.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Bootstrap {
    /// Who it is to the servers.
    pub node: Node,
    /// Lists of servers that differ. The first is for names without an authority.
    pub groups: Vec<ServerList>,
    /// By authority, the index of its list, and how its listeners are named.
    pub authorities: BTreeMap<String, Authority>,
    /// How the listener of a target without authority is named; `%s` stands for the target.
    pub listener_template: String,
}

/// Servers in the order in which they are preferred.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ServerList {
    /// The servers.
    pub servers: Vec<Server>,
    /// When the next one is asked.
    pub fallback: Fallback,
}

/// A server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Server {
    /// Where it is, as gRPC names targets.
    pub uri: String,
    /// How to reach it.
    pub credentials: Credentials,
    /// What it is known to do.
    pub features: Vec<String>,
    /// Which variant is spoken: that of gRPC's clients, unless it is changed.
    pub variant: Variant,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// In plaintext.
    Insecure,
    /// By TLS.
    Tls {
        /// Who may have signed its certificate; the system's roots if it is not said.
        ca_file: Option<PathBuf>,
        /// Our certificate and its key.
        identity: Option<(PathBuf, PathBuf)>,
    },
}

/// Who answers for names that say an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authority {
    /// Which of the lists.
    pub group: usize,
    /// How the listener of a target is named; `%s` stands for the target.
    pub listener_template: String,
}

/// A bootstrap cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Neither variable is set.
    #[error("neither {FILE_VARIABLE} nor {CONTENT_VARIABLE} is set")]
    Absent,
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no JSON of this shape.
    #[error("the bootstrap is malformed")]
    Malformed(#[from] serde_json::Error),
    /// There is no server.
    #[error("`{0}` names no server")]
    NoServer(String),
    /// No way of reaching the server is supported.
    #[error("the server `{0}` has no channel_creds that are supported: insecure, tls")]
    Credentials(String),
    /// Only one of two files that belong together.
    #[error("the server `{0}`: certificate_file and private_key_file belong together")]
    HalfIdentity(String),
    /// A template must begin with the authority it is for.
    #[error("the template `{template}` does not begin with `xdstp://{authority}/`")]
    Template {
        /// The authority.
        authority: String,
        /// The template.
        template: String,
    },
    /// A target is none.
    #[error("`{0}` is not xds:///service or xds://authority/service")]
    Target(String),
    /// A target names an authority that is not known.
    #[error("the authority `{0}` is not in the bootstrap")]
    Authority(String),
}

#[derive(Deserialize)]
struct File {
    xds_servers: Vec<FileServer>,
    #[serde(default)]
    node: FileNode,
    #[serde(default)]
    authorities: BTreeMap<String, FileAuthority>,
    client_default_listener_resource_name_template: Option<String>,
    #[serde(default)]
    fallback_on_reachability_only: bool,
}

#[derive(Deserialize)]
struct FileServer {
    server_uri: String,
    channel_creds: Vec<FileCredentials>,
    #[serde(default)]
    server_features: Vec<Json>,
}

#[derive(Deserialize)]
struct FileCredentials {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    config: Json,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FileTls {
    ca_certificate_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    private_key_file: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FileNode {
    id: String,
    cluster: String,
    metadata: Option<serde_json::Map<String, Json>>,
    locality: Option<FileLocality>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FileLocality {
    region: String,
    zone: String,
    sub_zone: String,
}

#[derive(Deserialize)]
struct FileAuthority {
    client_listener_resource_name_template: Option<String>,
    #[serde(default)]
    xds_servers: Vec<FileServer>,
    #[serde(default)]
    fallback_on_reachability_only: bool,
}

impl Bootstrap {
    /// The bootstrap that the environment names, as it is for gRPC's clients; `variable` reads the environment.
    ///
    /// # Errors
    /// [`BootstrapError`].
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Self, BootstrapError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        match (set(FILE_VARIABLE), set(CONTENT_VARIABLE)) {
            (Some(path), _) => Self::read(Path::new(&path)),
            (None, Some(content)) => Self::parse(&content),
            (None, None) => Err(BootstrapError::Absent),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`BootstrapError`].
    pub fn read(path: &Path) -> Result<Self, BootstrapError> {
        let content = std::fs::read_to_string(path);
        let content = content.map_err(|source| BootstrapError::File { path: path.to_owned(), source })?;
        Self::parse(&content)
    }

    /// Reads JSON. Fields that are not known are passed over.
    ///
    /// # Errors
    /// [`BootstrapError`].
    pub fn parse(content: &str) -> Result<Self, BootstrapError> {
        let file: File = serde_json::from_str(content)?;
        let mut groups = vec![list(&file.xds_servers, file.fallback_on_reachability_only, "xds_servers")?];
        let mut authorities = BTreeMap::new();
        for (name, authority) in file.authorities {
            let start = format!("xdstp://{name}/");
            let default = || format!("{start}envoy.config.listener.v3.Listener/%s");
            let listener_template = authority.client_listener_resource_name_template.unwrap_or_else(default);
            if !listener_template.starts_with(&start) {
                return Err(BootstrapError::Template { authority: name, template: listener_template });
            }
            let group = if authority.xds_servers.is_empty() {
                0
            } else {
                let list = list(&authority.xds_servers, authority.fallback_on_reachability_only, &name)?;
                // Authorities with the same servers share their streams.
                groups.iter().position(|known| *known == list).unwrap_or_else(|| {
                    groups.push(list);
                    groups.len() - 1
                })
            };
            authorities.insert(name, Authority { group, listener_template });
        }
        let listener_template = file.client_default_listener_resource_name_template;
        let listener_template = listener_template.unwrap_or_else(|| "%s".to_owned());
        Ok(Self { node: node(file.node), groups, authorities, listener_template })
    }

    /// The name of the listener of a target, `xds:///service` or `xds://authority/service`, and what its calls are addressed
    /// to.
    ///
    /// # Errors
    /// [`BootstrapError::Target`], [`BootstrapError::Authority`].
    pub fn listener(&self, target: &str) -> Result<(String, String), BootstrapError> {
        let rest = target.strip_prefix("xds:").ok_or_else(|| BootstrapError::Target(target.to_owned()))?;
        let (authority, service) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').ok_or_else(|| BootstrapError::Target(target.to_owned()))?,
            None => ("", rest),
        };
        if service.is_empty() {
            return Err(BootstrapError::Target(target.to_owned()));
        }
        let template = match authority {
            "" => &self.listener_template,
            named => {
                let known = self.authorities.get(named);
                &known.ok_or_else(|| BootstrapError::Authority(named.to_owned()))?.listener_template
            }
        };
        let name = match template.starts_with("xdstp:") {
            true => template.replace("%s", &ResourceName::encoded(service)),
            false => template.replace("%s", service),
        };
        Ok((name, service.rsplit('/').next().unwrap_or(service).to_owned()))
    }

    /// A client by this bootstrap, and what speaks with the servers for it. `now` reads the wall time.
    #[must_use]
    pub fn client(&self, now: fn() -> SystemTime) -> (Client, Driver) {
        let groups = self.groups.iter().map(|list| {
            let mut group = Group::new(list.servers.iter().map(Server::traits).collect());
            group.fallback = list.fallback;
            let all =
                |feature: &str| list.servers.iter().any(|server| server.features.iter().any(|one| one == feature));
            group.on_data_error = if all("fail_on_data_errors") { OnDataError::Drop } else { OnDataError::Keep };
            group
        });
        let authorities = self.authorities.iter().map(|(name, authority)| (name.clone(), authority.group)).collect();
        Client::new(&self.node, groups.collect(), authorities, now)
    }
}

impl Server {
    fn traits(&self) -> ServerTraits {
        let mut traits = ServerTraits::new(self.uri.clone(), self.variant);
        traits.silence_is_transient = self.features.iter().any(|one| one == "resource_timer_is_transient_error");
        traits
    }
}

fn list(servers: &[FileServer], reachability_only: bool, of: &str) -> Result<ServerList, BootstrapError> {
    if servers.is_empty() {
        return Err(BootstrapError::NoServer(of.to_owned()));
    }
    let servers = servers.iter().map(server).collect::<Result<_, _>>()?;
    let fallback = if reachability_only { Fallback::WhenUnreachable } else { Fallback::WhenMissing };
    Ok(ServerList { servers, fallback })
}

/// The first way of reaching it that is supported counts.
fn server(server: &FileServer) -> Result<Server, BootstrapError> {
    let uri = server.server_uri.clone();
    let credentials = server.channel_creds.iter().find_map(|creds| match creds.kind.as_str() {
        "insecure" => Some(Ok(Credentials::Insecure)),
        "tls" => Some(tls(&uri, &creds.config)),
        _ => None,
    });
    let credentials = credentials.ok_or_else(|| BootstrapError::Credentials(uri.clone()))??;
    let features = server.server_features.iter().filter_map(|feature| feature.as_str().map(str::to_owned)).collect();
    Ok(Server { uri, credentials, features, variant: Variant::StateOfTheWorld })
}

fn tls(uri: &str, config: &Json) -> Result<Credentials, BootstrapError> {
    let file = if config.is_null() { FileTls::default() } else { FileTls::deserialize(config)? };
    let identity = match (file.certificate_file, file.private_key_file) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(BootstrapError::HalfIdentity(uri.to_owned())),
    };
    Ok(Credentials::Tls { ca_file: file.ca_certificate_file, identity })
}

fn node(file: FileNode) -> Node {
    let text = "xds.config.resource-in-sotw";
    Node {
        id: file.id,
        cluster: file.cluster,
        metadata: file.metadata.map(structure),
        locality: file.locality.map(|locality| Locality {
            region: locality.region,
            zone: locality.zone,
            sub_zone: locality.sub_zone,
        }),
        user_agent_name: "mesh".to_owned(),
        client_features: vec!["envoy.lb.does_not_support_overprovisioning".to_owned(), text.to_owned()],
        ..Node::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{
        "xds_servers": [
            {"server_uri": "one:1", "channel_creds": [{"type": "google_default"}, {"type": "insecure"}],
             "server_features": ["xds_v3", "resource_timer_is_transient_error", {"unknown": 1}]},
            {"server_uri": "two:2", "channel_creds": [{"type": "tls", "config": {"ca_certificate_file": "/ca.pem"}}]}],
        "node": {"id": "n", "cluster": "c", "metadata": {"a": [1, "x", null, {"b": true}]}, "locality": {"zone": "z"}},
        "authorities": {
            "plain": {},
            "own": {"xds_servers": [{"server_uri": "three:3", "channel_creds": [{"type": "insecure"}]}],
                    "client_listener_resource_name_template": "xdstp://own/envoy.config.listener.v3.Listener/x/%s?a=1"},
            "same": {"xds_servers": [{"server_uri": "three:3", "channel_creds": [{"type": "insecure"}]}]}},
        "something": "else"
    }"#;

    #[test]
    fn is_read_as_grpc_reads_it() {
        let bootstrap = Bootstrap::parse(FULL).unwrap();
        assert_eq!(bootstrap.groups.len(), 2, "authorities with the same servers share them");
        let uris = |index: usize| -> Vec<_> {
            bootstrap.groups[index].servers.iter().map(|server| server.uri.as_str()).collect()
        };
        assert_eq!((uris(0), uris(1)), (vec!["one:1", "two:2"], vec!["three:3"]));
        let [one, two] = &bootstrap.groups[0].servers[..] else { panic!("two servers") };
        assert_eq!(one.credentials, Credentials::Insecure);
        assert!(one.traits().silence_is_transient && !two.traits().silence_is_transient);
        assert_eq!(two.credentials, Credentials::Tls { ca_file: Some("/ca.pem".into()), identity: None });
        assert_eq!(bootstrap.node.locality.as_ref().unwrap().zone, "z");
        for (target, listener, authority) in [
            ("xds:///shop", "shop", "shop"),
            ("xds:shop", "shop", "shop"),
            ("xds:///a/shop:80", "a/shop:80", "shop:80"),
            ("xds://plain/a b", "xdstp://plain/envoy.config.listener.v3.Listener/a%20b", "a b"),
            ("xds://own/shop", "xdstp://own/envoy.config.listener.v3.Listener/x/shop?a=1", "shop"),
        ] {
            assert_eq!(bootstrap.listener(target).unwrap(), (listener.to_owned(), authority.to_owned()));
        }
        let error = |target: &str| bootstrap.listener(target).unwrap_err().to_string();
        assert_eq!(error("dns:///shop"), "`dns:///shop` is not xds:///service or xds://authority/service");
        assert_eq!(error("xds://shop"), "`xds://shop` is not xds:///service or xds://authority/service");
        assert_eq!(error("xds://nobody/shop"), "the authority `nobody` is not in the bootstrap");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let one = |creds: &str| format!(r#"{{"xds_servers": [{{"server_uri": "a:1", "channel_creds": [{creds}]}}]}}"#);
        for (content, wanted) in [
            (r#"{"xds_servers": []}"#.to_owned(), "`xds_servers` names no server"),
            (one(""), "the server `a:1` has no channel_creds that are supported: insecure, tls"),
            (
                one(r#"{"type": "tls", "config": {"certificate_file": "x"}}"#),
                "the server `a:1`: certificate_file and private_key_file belong together",
            ),
            ("{".to_owned(), "the bootstrap is malformed"),
            (
                FULL.replace("xdstp://own/", "xdstp://other/"),
                "the template `xdstp://other/envoy.config.listener.v3.Listener/x/%s?a=1` does not begin with `xdstp://own/`",
            ),
        ] {
            assert_eq!(Bootstrap::parse(&content).unwrap_err().to_string(), wanted);
        }
    }
}
