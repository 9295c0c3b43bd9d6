//! Who the node proxy is to a control plane.

use mesh_host::member;
use mesh_xds::pb::{Kind, Node, Struct, Value};

use crate::settings::{Mode, Settings};

/// Membership, as the settings say.
pub(crate) fn member(settings: &Settings) -> member::Settings {
    // A proxy of one workload is that workload to the issuer, and impersonates nobody.
    let dedicated = settings.mode == Mode::Dedicated && settings.control_plane_name.is_some();
    member::Settings {
        control_plane_headers: settings.control_plane_headers.clone(),
        impersonates: !dedicated,
        sockets: settings.sockets(),
        ..settings.joining()
    }
}

/// Who we are to the control plane, in the form of Istio's node proxies.
pub(crate) fn node(settings: &Settings) -> Node {
    let instance = &settings.instance;
    let pod = if instance.pod.is_empty() { &settings.node } else { &instance.pod };
    let namespace = &instance.namespace;
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let mut fields = std::collections::BTreeMap::from([
        ("NAME".to_owned(), text(pod)),
        ("NAMESPACE".to_owned(), text(namespace)),
        ("INSTANCE_IPS".to_owned(), text(&instance.ip.to_string())),
        ("NODE_NAME".to_owned(), text(&settings.node)),
        ("CLUSTER_ID".to_owned(), text(&settings.cluster_id)),
    ]);
    for (key, value) in &instance.metadata {
        fields.entry(key.clone()).or_insert_with(|| text(value));
    }
    Node {
        id: format!("ztunnel~{}~{pod}.{namespace}~{namespace}.svc.cluster.local", instance.ip),
        cluster: "node-proxy".to_owned(),
        metadata: Some(Struct { fields: fields.into_iter().collect() }),
        ..Node::default()
    }
}
