//! What one value of a policy becomes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::problem::Unusable;
use crate::authz::rbac::{Permission, Principal};
use crate::name::Text;
use crate::path::PathTemplate;
use crate::request::{Condition, Field, HeaderMatch, MetadataMatch, ValueMatch};
use crate::string_match::{Pattern, Regex, StringMatch};

/// Beginning of every identity.
const SCHEME: &str = "spiffe://";
/// The filter that verifies tokens, and where it puts their claims.
const JWT: &str = "envoy.filters.http.jwt_authn";
const PAYLOAD: &str = "payload";

/// A text: exactly, by its beginning or end, or anything that is not empty.
pub(super) fn text(value: &str) -> Result<Pattern, Unusable> {
    cased(value, false)
}

fn cased(value: &str, ignore_case: bool) -> Result<Pattern, Unusable> {
    Ok(match StringMatch::parse(value) {
        StringMatch::Exact(text) if text.is_empty() => return Err(Unusable::Empty),
        StringMatch::Exact(text) => Pattern::Exact { text, ignore_case },
        StringMatch::Prefix(text) => Pattern::Prefix { text, ignore_case },
        StringMatch::Suffix(text) => Pattern::Suffix { text, ignore_case },
        StringMatch::Present => anything()?,
    })
}

fn anything() -> Result<Pattern, Unusable> {
    Ok(Pattern::Regex(Regex::new(".+")?))
}

pub(super) fn header(name: &Field, value: &str, ignore_case: bool) -> Result<HeaderMatch, Unusable> {
    let condition = match value {
        "*" => Condition::Present(true),
        value => Condition::Text(cased(value, ignore_case)?),
    };
    Ok(HeaderMatch::new(name.clone(), condition))
}

pub(super) fn path(value: &str) -> Result<Permission, Unusable> {
    match PathTemplate::is_istio(value) {
        true => Ok(Permission::PathTemplate(PathTemplate::istio(value)?)),
        false => text(value).map(Permission::Path),
    }
}

pub(super) fn port(value: &str) -> Result<Permission, Unusable> {
    value.parse().map(Permission::DestinationPort).map_err(|_| Unusable::Port(value.to_owned()))
}

pub(super) fn range(value: &str) -> Result<IpNet, Unusable> {
    let address = || value.parse::<IpAddr>().map(IpNet::from);
    value.parse().or_else(|_| address()).map_err(|_| Unusable::Address(value.to_owned()))
}

pub(super) fn principal(value: &str) -> Result<Principal, Unusable> {
    let pattern = match StringMatch::parse(value) {
        StringMatch::Exact(text) if text.is_empty() => return Err(Unusable::Empty),
        StringMatch::Exact(text) => Pattern::exact(&format!("{SCHEME}{text}")),
        StringMatch::Prefix(text) => Pattern::prefix(&format!("{SCHEME}{text}")),
        StringMatch::Suffix(text) => {
            Pattern::Regex(Regex::new(&format!("{SCHEME}.*{}", regex::escape(text.as_str())))?)
        }
        StringMatch::Present => anything()?,
    };
    Ok(Principal::PeerPrincipal(pattern))
}

pub(super) fn namespace(value: &str) -> Result<Principal, Unusable> {
    let pattern = match value {
        "" => return Err(Unusable::Empty),
        // The same as the expression, at a tenth of its cost.
        value if !value.contains('*') => Pattern::Contains { text: format!("/ns/{value}/").into(), ignore_case: false },
        // Within the segment: else `*a` would be every namespace, by the `sa` behind it.
        value => Pattern::Regex(Regex::new(&format!(".*/ns/{}/.*", wildcards(value)))?),
    };
    Ok(Principal::PeerPrincipal(pattern))
}

/// An account of a namespace, or of the policy's own.
pub(super) fn service_account(own: &Text, value: &str) -> Result<Principal, Unusable> {
    let (namespace, name) = value.split_once('/').unwrap_or((own.as_str(), value));
    if namespace.is_empty() || name.is_empty() || name.contains('/') || value.contains('*') {
        return Err(Unusable::ServiceAccount(value.to_owned()));
    }
    let (namespace, name) = (regex::escape(namespace), regex::escape(name));
    let expression = format!("{SCHEME}.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?");
    Ok(Principal::PeerPrincipal(Pattern::Regex(Regex::new(&expression)?)))
}

pub(super) fn trust_domain(value: &str) -> Result<Principal, Unusable> {
    let pattern = match value {
        "" => return Err(Unusable::Empty),
        value if !value.contains('*') => Pattern::prefix(&format!("{SCHEME}{value}/")),
        value => Pattern::Regex(Regex::new(&format!("{SCHEME}{}/.*", wildcards(value)))?),
    };
    Ok(Principal::PeerPrincipal(pattern))
}

/// An expression in which a star stands for anything but a slash.
fn wildcards(value: &str) -> String {
    value.split('*').map(regex::escape).collect::<Vec<_>>().join("[^/]*")
}

/// Issuer and subject of a token, with a slash between. The last slash is meant: an issuer may be a URL.
pub(super) fn request_principal(value: &str) -> Result<Principal, Unusable> {
    let exact = |text: &str| Pattern::exact(text);
    let suffix = |text: &str| Pattern::Suffix { text: text.into(), ignore_case: false };
    let split = value.rsplit_once('/');
    let (issuer, subject) = match (value.strip_prefix('*'), value.strip_suffix('*'), split) {
        (Some(""), _, _) => (anything()?, anything()?),
        (Some(_), _, Some(("*", subject))) => (anything()?, exact(subject)),
        (Some(_), _, Some((issuer, subject))) => (suffix(issuer.strip_prefix('*').unwrap_or(issuer)), exact(subject)),
        (Some(subject), _, None) => (anything()?, suffix(subject)),
        (None, Some(_), Some((issuer, "*"))) => (exact(issuer), anything()?),
        (None, Some(_), Some((issuer, subject))) => {
            (exact(issuer), Pattern::prefix(subject.strip_suffix('*').unwrap_or(subject)))
        }
        (None, Some(issuer), None) => (Pattern::prefix(issuer), anything()?),
        (None, None, Some((issuer, subject))) => (exact(issuer), exact(subject)),
        (None, None, None) if value.is_empty() => return Err(Unusable::Empty),
        (None, None, None) => (exact(value), exact("")),
    };
    let claim = |name: &str, pattern| Principal::Metadata(claims(&[name.into()], ValueMatch::Text(pattern)));
    Ok(Principal::And(vec![claim("iss", issuer), claim("sub", subject)]))
}

/// A claim that is this text, or a list with it.
pub(super) fn claim(path: &[Text], value: &str) -> Result<Principal, Unusable> {
    let text = ValueMatch::Text(text(value)?);
    let either = ValueMatch::Or(vec![text.clone(), ValueMatch::Contains(Box::new(text))]);
    Ok(Principal::Metadata(claims(path, either)))
}

fn claims(path: &[Text], value: ValueMatch) -> MetadataMatch {
    let path = std::iter::once(PAYLOAD.into()).chain(path.iter().cloned()).collect();
    MetadataMatch::new(JWT, path, value)
}

/// Something that a filter said; `[text]` is an element of a list.
pub(super) fn metadata(filter: &Text, key: &Text, value: &str) -> Result<Permission, Unusable> {
    let value = match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
        Some(element) => ValueMatch::Contains(Box::new(ValueMatch::Text(text(element)?))),
        None => ValueMatch::Text(text(value)?),
    };
    Ok(Permission::Metadata(MetadataMatch::new(filter.clone(), vec![key.clone()], value)))
}
