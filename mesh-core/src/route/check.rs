use std::collections::BTreeMap;

use crate::name::Text;

/// What a level of a route table says to a filter that asks an external authorizer. Envoy's `CheckSettings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckOverride {
    /// What the authorizer is told besides the request. Keys of all levels are told; of two alike the more specific one.
    pub context: BTreeMap<Text, Text>,
    /// Whether it sees the body.
    pub body: BodyOverride,
}

/// Whether an external authorizer sees the body of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyOverride {
    /// As the filter says.
    #[default]
    Inherit,
    /// It does not.
    Hidden,
    /// It does, so.
    Shown(CheckBody),
}

/// How an external authorizer sees the body of a request. Envoy's `BufferSettings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckBody {
    /// So many bytes at most; more than none.
    pub max_bytes: u32,
    /// Whether it sees the beginning of a longer body; otherwise the request is refused (413).
    pub allow_partial: bool,
    /// Whether it gets bytes rather than text. Of gRPC only.
    pub as_bytes: bool,
}
