use std::fmt;
use std::sync::Arc;

use crate::name::Text;

/// Where some bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DataSource {
    /// From a file on the machine that uses them.
    File(Text),
    /// They are here.
    Inline(Arc<[u8]>),
}

/// Bytes that must not be shown: a private key, a password. What is inline does not appear in debug output.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sensitive(pub DataSource);

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            DataSource::File(path) => f.debug_tuple("File").field(path).finish(),
            DataSource::Inline(_) => f.write_str("Inline(..)"),
        }
    }
}

/// A certificate provider that is set up at the client, and what is wanted of it (gRPC's proposal A29).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProviderInstance {
    /// Name of the provider in the client's bootstrap.
    pub instance: Text,
    /// Name of the certificate within the provider; may be empty.
    pub certificate: Text,
}
