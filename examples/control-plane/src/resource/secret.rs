//! `v1` Secret. What it holds is never printed.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use super::Metadata;

/// `v1 Secret`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Name.
    pub metadata: Metadata,
    /// `Opaque` when absent; `kubernetes.io/tls` and so on.
    #[serde(default)]
    pub r#type: Option<String>,
    /// What it holds, by key.
    #[serde(default)]
    pub data: BTreeMap<String, Bytes>,
    /// The same as texts, which count instead of `data` of the same key.
    #[serde(default)]
    pub string_data: BTreeMap<String, String>,
}

/// Bytes, written in base64.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Secret {
    /// What stands under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let text = self.string_data.get(key).map(String::as_bytes);
        text.or_else(|| self.data.get(key).map(|bytes| bytes.0.as_slice()))
    }

    /// The keys under which something stands.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let of_data = self.data.keys().filter(|key| !self.string_data.contains_key(*key));
        of_data.chain(self.string_data.keys()).map(String::as_str)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Base64 in YAML is often broken into lines.
        let mut text = String::deserialize(deserializer)?;
        text.retain(|one| !matches!(one, '\n' | '\r'));
        STANDARD.decode(&text).map(Self).map_err(|_| serde::de::Error::custom("is no base64"))
    }
}

/// The keys, without what stands there.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys().collect();
        let mut this = f.debug_struct("Secret");
        this.field("metadata", &self.metadata).field("type", &self.r#type).field("keys", &keys).finish_non_exhaustive()
    }
}

/// Their number.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &serde_json::Value) -> Result<Secret, serde_json::Error> {
        Secret::deserialize(value)
    }

    #[test]
    fn what_a_secret_holds_is_read_and_never_printed() {
        let secret = read(&serde_json::json!({
            "metadata": {"name": "a"},
            "data": {"tls.key": "aHVz\naA==", "b": "b2xk"},
            "stringData": {"b": "new"},
        }))
        .unwrap();
        assert_eq!(
            (secret.get("tls.key"), secret.get("b"), secret.get("c")),
            (Some(&b"hush"[..]), Some(&b"new"[..]), None)
        );
        assert_eq!(secret.keys().collect::<Vec<_>>(), ["tls.key", "b"]);
        let printed = format!("{secret:?} {:?}", secret.data);
        assert!(
            printed.contains("tls.key") && !["hush", "104", "new", "aHVz"].iter().any(|text| printed.contains(text))
        );
    }

    #[test]
    fn what_is_no_base64_is_refused_without_being_told() {
        let refused =
            read(&serde_json::json!({"metadata": {"name": "a"}, "data": {"k": "hush!"}})).unwrap_err().to_string();
        assert!(refused.contains("is no base64") && !refused.contains("hush"), "{refused}");
    }
}
