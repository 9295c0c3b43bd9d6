use crate::name::{NamespacedName, Text};

/// Who may do what with the requests it applies to; which these are is not said here. Istio's `AuthorizationPolicy`, in its
/// own words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizationPolicy {
    /// Namespace and name. Service accounts that are named without a namespace are of this one.
    pub name: NamespacedName,
    /// What a match means.
    pub action: PolicyAction,
    /// Any of these. Without any it never matches: an ALLOW policy without rules denies everything.
    pub rules: Vec<Rule>,
    /// Evaluated and reported, never enforced.
    pub dry_run: bool,
}

impl AuthorizationPolicy {
    /// An enforced policy.
    #[must_use]
    pub fn new(name: NamespacedName, action: PolicyAction, rules: Vec<Rule>) -> Self {
        Self { name, action, rules, dry_run: false }
    }
}

/// What a match means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyAction {
    /// It may pass, as far as ALLOW policies are concerned.
    Allow,
    /// It may not pass.
    Deny,
    /// It is logged.
    Audit,
    /// The external authorizer of this name is asked.
    Custom(Text),
}

/// Matches when one of the sources, one of the operations and all of the conditions do. A list that is empty matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Where the request comes from.
    pub from: Vec<Source>,
    /// What it wants.
    pub to: Vec<Operation>,
    /// What else must hold.
    pub when: Vec<Condition>,
}

/// Where a request comes from: all that is said must hold.
///
/// Texts are compared exactly, or by their beginning (`abc*`) or end (`*abc`); `*` is anything that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Identity of the peer, written without `spiffe://`.
    pub principals: Values,
    /// Who the verified token is about: issuer, slash, subject.
    pub request_principals: Values,
    /// Namespace of the peer.
    pub namespaces: Values,
    /// Service account of the peer: `name`, or `namespace/name`. No wildcards.
    pub service_accounts: Values,
    /// Trust domain of the peer.
    pub trust_domains: Values,
    /// Address of the peer, or a range of addresses.
    pub ip_blocks: Values,
    /// The same of the client, which a trusted `x-forwarded-for` or a PROXY header may name.
    pub remote_ip_blocks: Values,
}

/// What a request wants: all that is said must hold. Texts are compared as those of a [`Source`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// The host, with the port if the client sent one; upper and lower case are the same.
    pub hosts: Values,
    /// The port of the destination.
    pub ports: Values,
    /// The method.
    pub methods: Values,
    /// The path in its normal form, without query. `{*}` stands for a segment, `{**}` for any number of them.
    pub paths: Values,
}

/// A condition on something that has a key.
///
/// | key | values |
/// | --- | --- |
/// | `request.headers[name]` | texts |
/// | `source.ip`, `remote.ip`, `destination.ip` | addresses and ranges |
/// | `source.namespace`, `source.principal`, `source.serviceAccount` | as in [`Source`] |
/// | `destination.port` | ports |
/// | `connection.sni` | texts |
/// | `request.auth.principal` | as `request_principals` in [`Source`] |
/// | `request.auth.audiences`, `request.auth.presenter` | texts |
/// | `request.auth.claims[name]`, `request.auth.claims[name][inner]` | texts; a claim that is a list must hold one of them |
/// | `experimental.envoy.filters.…[key]` | texts; `[text]` for an element of a list |
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// The key.
    pub key: Text,
    /// What it may be and what not.
    pub values: Values,
}

/// What something may be, and what it must not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// It must be one of these, if there are any.
    pub any_of: Vec<Text>,
    /// It must be none of these.
    pub none_of: Vec<Text>,
}

impl Values {
    /// It must be one of these.
    pub fn any_of<T: Into<Text>>(values: impl IntoIterator<Item = T>) -> Self {
        Self { any_of: values.into_iter().map(Into::into).collect(), none_of: Vec::new() }
    }

    /// It must be none of these.
    pub fn none_of<T: Into<Text>>(values: impl IntoIterator<Item = T>) -> Self {
        Self { any_of: Vec::new(), none_of: values.into_iter().map(Into::into).collect() }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty()
    }
}
