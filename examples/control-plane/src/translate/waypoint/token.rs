//! What RequestAuthentications say of tokens.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderName, Uri};
use mesh_core::authn::{Authentication, JwtRule, KeySource, Places, RequestAuthentication, RuleKeys, TokenHeader};
use mesh_core::name::{NamespacedName, Text};

use super::keys::KeyCluster;
use super::policy::target_faults;
use crate::finding::Severity;
use crate::resource;
use crate::resource::text::duration;

/// Names the clusters by which Envoy fetches keys.
pub(super) fn fetched(tokens: &mut Authentication) -> BTreeSet<KeyCluster> {
    let mut clusters = BTreeSet::new();
    for provider in tokens.providers.values_mut() {
        if let KeySource::Remote(keys) = &mut provider.keys
            && let Some(cluster) = keys.uri.as_str().parse::<Uri>().ok().and_then(|uri| KeyCluster::of(&uri))
        {
            keys.cluster = cluster.name().into();
            clusters.insert(cluster);
        }
    }
    clusters
}

/// A RequestAuthentication in the terms of the model.
pub(super) fn authentication(key: &NamespacedName, source: &resource::RequestAuthentication) -> RequestAuthentication {
    RequestAuthentication { name: key.clone(), rules: source.spec.jwt_rules.iter().map(jwt_rule).collect() }
}

fn jwt_rule(source: &resource::JwtRule) -> JwtRule {
    let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
    let texts = |list: &[String]| list.iter().map(|text| Text::from(text.as_str())).collect();
    let keys = match (&source.jwks, &source.jwks_uri) {
        (Some(text), _) => RuleKeys::Inline(text.as_str().into()),
        (None, Some(uri)) => RuleKeys::Uri(uri.as_str().into()),
        (None, None) => RuleKeys::Discovered,
    };
    let token_header = |one: &resource::JwtHeader| {
        Some(TokenHeader { name: header(&one.name)?, prefix: one.prefix.as_deref().unwrap_or_default().into() })
    };
    let claim_header = |one: &resource::ClaimHeader| Some((header(&one.header)?, one.claim.as_str().into()));
    let mut rule = JwtRule::new(source.issuer.as_str(), keys);
    rule.audiences = texts(&source.audiences);
    rule.places = Places {
        headers: source.from_headers.iter().filter_map(token_header).collect(),
        params: texts(&source.from_params),
        cookies: texts(&source.from_cookies),
    };
    rule.forward_original_token = source.forward_original_token;
    rule.output_payload_to_header = source.output_payload_to_header.as_deref().and_then(header);
    rule.output_claim_to_headers = source.output_claim_to_headers.iter().filter_map(claim_header).collect();
    rule.space_delimited_claims = texts(&source.space_delimited_claims);
    rule.timeout = source.timeout.as_deref().and_then(duration).unwrap_or(rule.timeout).max(Duration::from_millis(1));
    rule
}

/// What is wrong with a RequestAuthentication.
pub(crate) fn faults(source: &resource::RequestAuthentication) -> Vec<(Severity, String)> {
    let spec = &source.spec;
    let mut faults = target_faults(spec.target_ref.as_ref(), &spec.target_refs, spec.selector.is_some());
    if spec.target_ref.is_none() && spec.target_refs.is_empty() {
        let message = "spec.targetRefs: there is none; only waypoints look at tokens, it would not be enforced";
        faults.push((Severity::Error, message.to_owned()));
    }
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        let at = format!("spec.jwtRules[{index}]");
        if rule.jwks.is_none() && rule.jwks_uri.is_none() {
            let message =
                format!("{at}.jwksUri: there is no `jwks` either; a real Envoy does not find out where keys are");
            faults.push((Severity::Warning, message));
        }
        let mut error = |message: String| faults.push((Severity::Error, message));
        if rule.issuer.is_empty() {
            error(format!("{at}.issuer: is missing"));
        }
        if rule.jwks.is_some() && rule.jwks_uri.is_some() {
            error(format!("{at}.jwksUri: there is `jwks` too"));
        }
        if rule.jwks.as_deref().is_some_and(|text| !holds_key(text)) {
            error(format!("{at}.jwks: is no JSON Web Key Set that holds a public key"));
        }
        let uri = rule.jwks_uri.as_ref().map(|uri| (uri, uri.parse::<Uri>().ok().and_then(|uri| KeyCluster::of(&uri))));
        if let Some((uri, None)) = uri {
            error(format!("{at}.jwksUri: `{uri}` is no URL of http or https"));
        }
        let outputs = rule.output_claim_to_headers.iter().map(|one| &one.header).chain(&rule.output_payload_to_header);
        let inputs = rule.from_headers.iter().map(|one| &one.name);
        for name in outputs.chain(inputs).filter(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            error(format!("{at}: `{name}` is no header"));
        }
        if let Some(text) = rule.timeout.as_ref().filter(|text| duration(text).is_none()) {
            error(format!("{at}.timeout: `{text}` is no duration such as 5s"));
        }
    }
    faults
}

/// Whether a text is a set of keys with one that verifies signatures. Envoy refuses all of a waypoint for one that is not.
fn holds_key(text: &str) -> bool {
    let set: Result<serde_json::Value, _> = serde_json::from_str(text);
    let keys = set.ok().and_then(|set| set.get("keys").and_then(|keys| keys.as_array().cloned()));
    let is_key = |key: &serde_json::Value| {
        let has = |member: &str| key.get(member).is_some_and(serde_json::Value::is_string);
        match key.get("kty").and_then(serde_json::Value::as_str) {
            Some("RSA") => has("n") && has("e"),
            Some("EC") => has("crv") && has("x") && has("y"),
            Some("OKP") => has("crv") && has("x"),
            _ => false,
        }
    };
    keys.is_some_and(|keys| keys.iter().any(is_key))
}
