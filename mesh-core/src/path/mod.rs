//! Paths of requests: one normal form for policies, routes and the service behind them, and templates that paths are matched
//! with.
//!
//! A policy is passed by when it compares one spelling of a path and the service serves another. So a path is normalized
//! before anybody looks at it, and the service gets what was looked at: see [`PathNormalization`], which does what Envoy does,
//! byte by byte, and has Istio's levels as constants.
//!
//! ```
//! use mesh_core::path::{PathError, PathNormalization, PathTemplate};
//!
//! let base = PathNormalization::BASE;
//! assert_eq!(base.apply("/public/%2e%2e/%61dmin?q=/../")?.target, "/admin?q=/../");
//! assert_eq!(base.apply("/public\\..\\admin")?.target, "/admin");
//! assert_eq!(base.apply("/a%00"), Err(PathError::Nul));
//! assert_eq!(PathNormalization::DECODE_AND_MERGE_SLASHES.apply("/public/..%2F/admin")?.target, "/admin");
//!
//! let template = PathTemplate::istio("/users/{*}/cart/{**}")?;
//! assert!(template.is_match("/users/7/cart/items/1"));
//! assert!(!template.is_match("/users/7/8/cart/items"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canonical;
mod normalize;
mod settings;
mod template;

pub use normalize::{Normalized, PathError};
pub use settings::{EscapedSlashes, PathNormalization};
pub use template::{PathTemplate, TemplateError};

#[cfg(test)]
mod tests;
