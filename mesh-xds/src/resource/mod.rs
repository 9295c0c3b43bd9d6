//! What a resource is to a client: a type, a name, and how its bytes are read.

mod name;

use std::fmt;

pub use name::{NameError, ResourceName};

/// A resource that a client can watch.
pub trait Resource: fmt::Debug + Send + Sync + Sized + 'static {
    /// Its type URL.
    const TYPE_URL: &'static str;

    /// Whether it may be kept on disk. Not what holds private keys.
    const MAY_BE_KEPT: bool = true;

    /// Reads and validates it.
    ///
    /// # Errors
    /// Why it cannot be used, naming the field; the server is told.
    fn decode(bytes: &[u8]) -> Result<Read<Self>, Box<dyn std::error::Error + Send + Sync>>;
}

/// A resource that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    /// Its name, as the message itself says it.
    pub name: String,
    /// The resource.
    pub value: T,
    /// What of it has no effect.
    pub warnings: Vec<Warning>,
}

/// A field that is set and has no effect here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands, such as `virtual_hosts[2].routes[0].route.priority`.
    pub field: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not supported and has no effect", self.field)
    }
}
