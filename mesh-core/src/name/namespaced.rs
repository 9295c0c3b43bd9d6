use std::fmt;
use std::str::FromStr;

use super::{Error, Hostname, Text};

/// A name inside a namespace, such as that of a policy. Written `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: Text,
    /// The name, unique inside the namespace per kind of thing.
    pub name: Text,
}

impl NamespacedName {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl FromStr for NamespacedName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(Error::Namespaced(text.to_owned())),
        }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A host name in the namespace that declares it: the key of a service. Written `namespace/hostname`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedHostname {
    /// The namespace of the service.
    pub namespace: Text,
    /// The host name by which it is called.
    pub hostname: Hostname,
}

impl NamespacedHostname {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<Text>, hostname: Hostname) -> Self {
        Self { namespace: namespace.into(), hostname }
    }
}

impl FromStr for NamespacedHostname {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('/') {
            Some((namespace, hostname)) if !namespace.is_empty() => {
                Ok(Self::new(namespace, Hostname::parse(hostname)?))
            }
            _ => Err(Error::Namespaced(text.to_owned())),
        }
    }
}

impl fmt::Display for NamespacedHostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}
