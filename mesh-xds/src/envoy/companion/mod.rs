//! Filters that ask an external authorizer or the rate limit service ↔ [`mesh_core::companion`].
//!
//! | message | table of its fields in |
//! | --- | --- |
//! | `ExtAuthz`, `ExtAuthzPerRoute` | `ext_authz.rs` |
//! | `HttpService` of external authorization | `http_service.rs` |
//! | `RateLimit`, `RateLimitPerRoute` of the filter | `rate_limit.rs` |
//! | `GrpcService` | `service.rs` |
//! | `RateLimit` of routes | `route/rate_limit.rs` |

mod ext_authz;
mod http_service;
mod rate_limit;
mod service;

pub(super) use ext_authz::{ext_authz, ext_authz_per_route, wire_ext_authz, wire_ext_authz_per_route};
pub(super) use rate_limit::{
    global_rate_limit, rate_limit_per_route, wire_global_rate_limit, wire_rate_limit_per_route,
};

#[cfg(test)]
pub(super) mod tests;
