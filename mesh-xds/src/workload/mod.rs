//! Istio's workload discovery ↔ the vocabulary and policies of `mesh_core`: decode and encode are each other's inverse.
//!
//! Decoding refuses what it cannot represent, naming the field; a policy is never widened by leaving a part of it out.

mod address;
mod file;
mod ip;
mod policy;
mod refusing;
mod subscriber;

pub use address::{Address, decode_address, encode_service, encode_workload};
pub use file::{FileError, LocalFile, parse_local_file};
pub use policy::{decode_policy, encode_policy, refusing_policy};
pub use refusing::refusing_address;
pub use subscriber::{Setup, State, Subscriber};

/// Type URL of `istio.workload.Address`.
pub const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";

/// Type URL of `istio.security.Authorization`.
pub const POLICY_TYPE: &str = "type.googleapis.com/istio.security.Authorization";

/// A resource cannot be represented. It is rejected alone, and the one before it stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no message of the type.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The resource is of another type.
    #[error("type `{0}` where another was expected")]
    Type(String),
    /// The resource has another name than its content says, so that it could not be removed by its name.
    #[error("the resource is named `{name}`, its content says `{content}`")]
    ResourceName {
        /// Name of the resource.
        name: String,
        /// Name by its content.
        content: String,
    },
    /// A part that must be there is not, or is not usable.
    #[error("`{0}` is missing or malformed")]
    Missing(&'static str),
    /// An address is neither 4 nor 16 bytes long.
    #[error("`{field}`: an address of {length} bytes")]
    Address {
        /// The field.
        field: &'static str,
        /// Its length.
        length: usize,
    },
    /// A prefix is longer than its address.
    #[error("`{field}`: a prefix of {length} bits")]
    Prefix {
        /// The field.
        field: &'static str,
        /// Its length.
        length: u32,
    },
    /// A port above 65535, or 0 where one is needed.
    #[error("`{field}`: {value} is no port")]
    Port {
        /// The field.
        field: &'static str,
        /// The value.
        value: u32,
    },
    /// An enumeration has a value that is not known or not supported.
    #[error("`{field}`: value {value} is not supported")]
    Enumeration {
        /// The field.
        field: &'static str,
        /// The value.
        value: i32,
    },
    /// A name is none.
    #[error("`{field}` is not valid")]
    Name {
        /// The field.
        field: &'static str,
        /// Why not.
        source: mesh_core::name::Error,
    },
    /// A string match without a kind: it would match everything or nothing, and nobody can know which was meant.
    #[error("`{0}`: a string match without a kind")]
    EmptyStringMatch(&'static str),
    /// An extension, which might restrict what the policy matches.
    #[error("extension `{0}` is not supported")]
    Extension(String),
}

fn name<T: std::str::FromStr<Err = mesh_core::name::Error>>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|source| Error::Name { field, source })
}

#[cfg(test)]
mod tests;
