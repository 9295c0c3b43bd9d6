use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::serve::PATH;
use crate::source::kubernetes::{COLLECTIONS, Collection};

/// Where API servers find the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A service of the cluster.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
    /// Somewhere else: `https://host:port`, without a path.
    Url(String),
}

/// The `ValidatingWebhookConfiguration` by which API servers ask this webhook, as YAML. `roots` (PEM) are those by which they
/// know it. All kinds are asked about that the mesh reads and Kubernetes does not judge itself; about objects that go only with
/// `deletions`, for admission policies that keep some.
#[must_use]
pub fn configuration(name: &str, place: &Place, roots: &[u8], deletions: bool) -> String {
    let mut groups = BTreeMap::<&str, Vec<&str>>::new();
    // Of Kubernetes' own kinds its API server knows best, and a webhook that is away would stop the cluster.
    let is_asked = |collection: &&Collection| {
        !collection.group.is_empty() && (collection.group.contains(".istio.io") || collection.has_status)
    };
    for collection in COLLECTIONS.iter().filter(is_asked) {
        groups.entry(collection.group).or_default().push(collection.plural);
    }
    let place = match place {
        Place::Service { namespace, name, port } => format!(
            "      service:\n        namespace: {}\n        name: {}\n        port: {port}\n        path: {PATH}\n",
            quoted(namespace),
            quoted(name)
        ),
        Place::Url(url) => format!("      url: {}\n", quoted(&format!("{}{PATH}", url.trim_end_matches('/')))),
    };
    let mut yaml = format!(
        "apiVersion: admissionregistration.k8s.io/v1\n\
         kind: ValidatingWebhookConfiguration\n\
         metadata:\n  name: {}\n\
         webhooks:\n\
         \x20 - name: validation.mesh.example\n\
         \x20   admissionReviewVersions: [v1]\n\
         \x20   sideEffects: None\n\
         \x20   # What nobody could judge must not take effect.\n\
         \x20   failurePolicy: Fail\n\
         \x20   matchPolicy: Equivalent\n\
         \x20   timeoutSeconds: 5\n\
         \x20   clientConfig:\n{place}      caBundle: {}\n\
         \x20   rules:\n",
        quoted(name),
        STANDARD.encode(roots),
    );
    let operations = if deletions { "CREATE, UPDATE, DELETE" } else { "CREATE, UPDATE" };
    for (group, plurals) in groups {
        // Writing into a text cannot fail.
        let _ = write!(
            yaml,
            "      - apiGroups: [{group}]\n        apiVersions: [\"*\"]\n        operations: [{operations}]\n        \
             resources: [{}]\n        scope: \"*\"\n",
            plurals.join(", ")
        );
    }
    yaml
}

/// As a string of YAML, which those of JSON are.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
