/// What becomes of a request's path before it is looked at. The query is never touched. By default: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PathNormalization {
    /// Whether it is brought into the normal form of RFC 3986 section 6, as Envoy does it: dot segments are resolved,
    /// characters that need no percent-encoding lose it and those that need it get it, backslashes become slashes. The case of
    /// percent-encodings stays. What has no normal form is refused.
    pub normalize: bool,
    /// Whether several slashes in a row become one.
    pub merge_slashes: bool,
    /// What is done with `%2F` and `%5C`, before anything else.
    pub escaped_slashes: EscapedSlashes,
}

/// What is done with slashes that are written as `%2F` or `%5C`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    /// Nothing.
    #[default]
    Keep,
    /// The request is refused (400).
    Reject,
    /// The client is sent to the path with slashes (307); a call of gRPC is refused.
    Redirect,
    /// They become slashes.
    Unescape,
}

impl PathNormalization {
    /// Istio's `NONE`: the path stays as it was sent. Policies on paths can be passed by.
    pub const NONE: Self = Self { normalize: false, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };
    /// Istio's `BASE`, its default: the normal form.
    pub const BASE: Self = Self { normalize: true, ..Self::NONE };
    /// Istio's `MERGE_SLASHES`: the normal form, and slashes in a row are one.
    pub const MERGE_SLASHES: Self = Self { merge_slashes: true, ..Self::BASE };
    /// Istio's `DECODE_AND_MERGE_SLASHES`: as [`MERGE_SLASHES`](Self::MERGE_SLASHES), and slashes that are percent-encoded are
    /// slashes. For services that decode them too.
    pub const DECODE_AND_MERGE_SLASHES: Self =
        Self { escaped_slashes: EscapedSlashes::Unescape, ..Self::MERGE_SLASHES };

    /// The level that Istio calls by this name in `meshConfig.pathNormalization.normalization`; `DEFAULT` is `BASE`.
    #[must_use]
    pub fn istio(level: &str) -> Option<Self> {
        match level {
            "NONE" => Some(Self::NONE),
            "DEFAULT" | "BASE" => Some(Self::BASE),
            "MERGE_SLASHES" => Some(Self::MERGE_SLASHES),
            "DECODE_AND_MERGE_SLASHES" => Some(Self::DECODE_AND_MERGE_SLASHES),
            _ => None,
        }
    }
}
