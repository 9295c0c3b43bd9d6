use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::schema::{ConfigMap, MeshConfig, Object};
use crate::finding::{Finding, Origin};

/// Name of the ConfigMap that holds the settings of the mesh.
pub(crate) const MESH_CONFIG: &str = "istio";

/// What every document begins with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Value>,
}

/// A document, or an item of a list in one.
enum Content<'a> {
    Yaml(&'a str),
    Item(Value),
}

impl Content<'_> {
    fn read<T: DeserializeOwned>(&self, origin: &Origin) -> Result<T, Finding> {
        match self {
            Self::Yaml(text) => serde_saphyr::from_str(text).map_err(|error| {
                let line = error.location().map_or(origin.line, |location| location.line());
                let message = mesh_host::settings::first_line(&error.to_string());
                Origin { file: origin.file.clone(), line }.error(message)
            }),
            Self::Item(value) => {
                T::deserialize(value).map_err(|error| origin.error(format!("in an item of the list: {error}")))
            }
        }
    }
}

/// Parses the documents of a file. Each is an object, or what is wrong with it.
pub(super) fn parse(path: &Path, text: &str) -> Vec<Result<(Origin, Object), Finding>> {
    let mut parsed = Vec::new();
    for (line, document) in split(text) {
        let origin = Origin { file: path.to_owned(), line };
        // Empty lines in front keep the parser's line numbers those of the file.
        let padded = "\n".repeat(usize::try_from(line - 1).unwrap_or(0)) + &document;
        let content = Content::Yaml(&padded);
        match content.read::<Head>(&origin) {
            Ok(head) if head.kind == "List" => match content.read::<List>(&origin) {
                Ok(list) => parsed.extend(list.items.into_iter().map(|item| {
                    let content = Content::Item(item);
                    let head = content.read::<Head>(&origin)?;
                    object(&head, &content, &origin)
                })),
                Err(finding) => parsed.push(Err(finding)),
            },
            Ok(head) => parsed.push(object(&head, &content, &origin)),
            Err(finding) => parsed.push(Err(finding)),
        }
    }
    parsed
}

/// The documents of a file and the lines on which they begin. Empty ones and ones of comments only are left out.
fn split(text: &str) -> Vec<(u64, String)> {
    let mut documents = vec![(1_u64, String::new())];
    for (index, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            documents.push((index as u64 + 2, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let says_something = |text: &str| text.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
    documents.retain(|(_, document)| says_something(document));
    documents
}

fn object(head: &Head, content: &Content<'_>, origin: &Origin) -> Result<(Origin, Object), Finding> {
    let group = head.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let object = match (group, head.kind.as_str()) {
        ("", "Namespace") => Object::Namespace(content.read(origin)?),
        ("", "Service") => Object::Service(content.read(origin)?),
        ("", "ServiceAccount") => Object::ServiceAccount(content.read(origin)?),
        ("", "Pod") => Object::Pod(content.read(origin)?),
        ("discovery.k8s.io", "EndpointSlice") => Object::EndpointSlice(content.read(origin)?),
        ("networking.istio.io", "WorkloadEntry") => Object::WorkloadEntry(content.read(origin)?),
        ("networking.istio.io", "ServiceEntry") => Object::ServiceEntry(content.read(origin)?),
        ("security.istio.io", "AuthorizationPolicy") => Object::AuthorizationPolicy(Box::new(content.read(origin)?)),
        ("security.istio.io", "PeerAuthentication") => Object::PeerAuthentication(content.read(origin)?),
        ("security.istio.io", "RequestAuthentication") => {
            Object::RequestAuthentication(Box::new(content.read(origin)?))
        }
        ("networking.istio.io", "DestinationRule") => Object::DestinationRule(Box::new(content.read(origin)?)),
        ("networking.istio.io", "VirtualService") => Object::VirtualService(Box::new(content.read(origin)?)),
        ("", "ConfigMap") => {
            let ConfigMap { metadata, data } = content.read(origin)?;
            match data.get("mesh").filter(|_| metadata.name == MESH_CONFIG) {
                Some(text) => Object::MeshConfig(metadata, Box::new(mesh_config(text, origin)?)),
                None => Object::Other(format!("{} ConfigMap", head.api_version)),
            }
        }
        ("gateway.networking.k8s.io", "Gateway") => Object::Gateway(content.read(origin)?),
        ("gateway.networking.k8s.io", "GatewayClass") => Object::GatewayClass(content.read(origin)?),
        ("gateway.networking.k8s.io", "HTTPRoute") => Object::HttpRoute(Box::new(content.read(origin)?)),
        ("gateway.networking.k8s.io", "GRPCRoute") => Object::GrpcRoute(Box::new(content.read(origin)?)),
        // A security resource that is not understood may be one that was meant to protect.
        ("security.istio.io", kind) => {
            return Err(origin.error(format!("security kind `{kind}` is not supported; it would not be enforced")));
        }
        (_, "") => return Err(origin.error("a document without `kind`")),
        (_, kind) => Object::Other(format!("{} {kind}", head.api_version)),
    };
    Ok((origin.clone(), object))
}

/// The settings of the mesh, a text in a text.
fn mesh_config(text: &str, origin: &Origin) -> Result<MeshConfig, Finding> {
    serde_saphyr::from_str(text)
        .map_err(|error| origin.error(format!("data.mesh: {}", mesh_host::settings::first_line(&error.to_string()))))
}
