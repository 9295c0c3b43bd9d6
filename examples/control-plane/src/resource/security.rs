//! Kinds of `security.istio.io`. They refuse fields that are not listed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Metadata;

/// `security.istio.io AuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationPolicy {
    /// API version.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name and annotations.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: AuthorizationSpec,
    /// Written by others.
    #[serde(default)]
    pub status: Option<serde_json::Value>,
}

/// Specification of an AuthorizationPolicy.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthorizationSpec {
    /// The workloads that it is for; all of its namespace when absent.
    pub selector: Option<Selector>,
    /// What it is for, as it was written before there could be several.
    pub target_ref: Option<PolicyTarget>,
    /// What it is for: services, waypoints, or all waypoints of a class.
    pub target_refs: Vec<PolicyTarget>,
    /// `ALLOW` when absent.
    pub action: Option<String>,
    /// For `CUSTOM`: who decides.
    pub provider: Option<Provider>,
    /// Its rules; absent means none.
    pub rules: Vec<AuthorizationRule>,
}

/// What a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyTarget {
    /// API group; empty for a Service.
    #[serde(default)]
    pub group: String,
    /// `Service`, `ServiceEntry`, `Gateway` or `GatewayClass`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The policy's, if given at all.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// Who decides for `CUSTOM`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Name of an extension provider.
    pub name: String,
}

/// Labels that select workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// The labels.
    pub match_labels: BTreeMap<String, String>,
}

/// One rule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationRule {
    /// Who; any of these. Absent is anybody; present and empty says nothing, and is refused.
    #[serde(deserialize_with = "present")]
    pub from: Option<Vec<From>>,
    /// What; any of these. As above.
    #[serde(deserialize_with = "present")]
    pub to: Option<Vec<To>>,
    /// Conditions; all of these. As above.
    #[serde(deserialize_with = "present")]
    pub when: Option<Vec<When>>,
}

/// A list that is written down: `from:` without items is an empty list, not an absent one.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

/// A `from` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// The source.
    pub source: SourceMatch,
}

/// A source; all fields that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceMatch {
    /// Identities without `spiffe://`.
    pub principals: Vec<String>,
    /// Identities that it must not have.
    pub not_principals: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Namespaces that it must not be of.
    pub not_namespaces: Vec<String>,
    /// Addresses.
    pub ip_blocks: Vec<String>,
    /// Addresses that it must not have.
    pub not_ip_blocks: Vec<String>,
    /// `namespace/account`, or an account of the policy's namespace.
    pub service_accounts: Vec<String>,
    /// Accounts that it must not be.
    pub not_service_accounts: Vec<String>,
    /// Trust domains. For waypoints only.
    pub trust_domains: Vec<String>,
    /// Trust domains that it must not be of. For waypoints only.
    pub not_trust_domains: Vec<String>,
    /// L7 only.
    pub request_principals: Vec<String>,
    /// L7 only.
    pub not_request_principals: Vec<String>,
    /// L7 only.
    pub remote_ip_blocks: Vec<String>,
    /// L7 only.
    pub not_remote_ip_blocks: Vec<String>,
}

/// A `to` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct To {
    /// The operation.
    pub operation: Operation,
}

/// An operation; all fields that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Operation {
    /// Ports.
    pub ports: Vec<String>,
    /// Ports that it must not be.
    pub not_ports: Vec<String>,
    /// L7 only.
    pub hosts: Vec<String>,
    /// L7 only.
    pub not_hosts: Vec<String>,
    /// L7 only.
    pub methods: Vec<String>,
    /// L7 only.
    pub not_methods: Vec<String>,
    /// L7 only.
    pub paths: Vec<String>,
    /// L7 only.
    pub not_paths: Vec<String>,
}

/// A `when` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// What is looked at.
    pub key: String,
    /// Values that it may have.
    #[serde(default)]
    pub values: Vec<String>,
    /// Values that it must not have.
    #[serde(default)]
    pub not_values: Vec<String>,
}

/// `security.istio.io RequestAuthentication`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestAuthentication {
    /// API version.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: RequestAuthenticationSpec,
    /// Written by others.
    #[serde(default)]
    pub status: Option<serde_json::Value>,
}

/// Specification of a RequestAuthentication.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestAuthenticationSpec {
    /// The workloads that it is for; it has no effect on waypoints.
    pub selector: Option<Selector>,
    /// What it is for, as it was written before there could be several.
    pub target_ref: Option<PolicyTarget>,
    /// What it is for: services, waypoints, or all waypoints of a class.
    pub target_refs: Vec<PolicyTarget>,
    /// Issuers of tokens.
    pub jwt_rules: Vec<JwtRule>,
}

/// An issuer of tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwtRule {
    /// Its name, as it stands in `iss`.
    pub issuer: String,
    /// Audiences of which a token must have one; any when absent.
    pub audiences: Vec<String>,
    /// Where its keys are served.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: Option<String>,
    /// Its keys.
    pub jwks: Option<String>,
    /// Headers that carry tokens.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that carry tokens.
    pub from_params: Vec<String>,
    /// Cookies that carry tokens.
    pub from_cookies: Vec<String>,
    /// Header that gets the claims, base64url-encoded.
    pub output_payload_to_header: Option<String>,
    /// Headers that get single claims.
    pub output_claim_to_headers: Vec<ClaimHeader>,
    /// Whether the token is passed on.
    pub forward_original_token: bool,
    /// How long fetching the keys may take.
    pub timeout: Option<String>,
    /// Claims that are lists separated by spaces.
    pub space_delimited_claims: Vec<String>,
}

/// A header that carries a token.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtHeader {
    /// Its name.
    pub name: String,
    /// What stands before the token.
    #[serde(default)]
    pub prefix: Option<String>,
}

/// A header that gets a claim.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimHeader {
    /// Its name.
    pub header: String,
    /// The claim.
    pub claim: String,
}

/// `security.istio.io PeerAuthentication`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerAuthentication {
    /// API version.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: PeerAuthenticationSpec,
    /// Written by others.
    #[serde(default)]
    pub status: Option<serde_json::Value>,
}

/// Specification of a PeerAuthentication.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PeerAuthenticationSpec {
    /// The workloads that it is for.
    pub selector: Option<Selector>,
    /// The mode.
    pub mtls: Mtls,
    /// Modes of single ports.
    pub port_level_mtls: BTreeMap<String, Mtls>,
}

/// A mode of mutual TLS.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mtls {
    /// The mode.
    pub mode: MtlsMode,
}

/// Whether plaintext is accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsMode {
    /// As the next wider scope says.
    #[default]
    Unset,
    /// Accepted.
    Disable,
    /// Accepted.
    Permissive,
    /// Refused.
    Strict,
}
