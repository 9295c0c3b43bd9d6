//! Envoy's `JwtAuthentication` ↔ [`mesh_core::authn`].
//!
//! | field | how it is taken |
//! | --- | --- |
//! | **JwtAuthentication** `providers`, `rules`, `requirement_map`, `bypass_cors_preflight`, `strip_failure_response` | honoured; names that lead nowhere: NACK |
//! | `filter_state_rules` | NACK |
//! | `stat_prefix` | warning |
//! | **per route** `disabled`, `requirement_name` | honoured; `disabled` = false: NACK |
//! | **JwtProvider** `issuer`, `audiences`, `subjects`, `require_expiration`, `max_lifetime`, `clock_skew_seconds` | honoured |
//! | `from_headers`, `from_params`, `from_cookies`, `forward`, `forward_payload_header`, `pad_forward_payload_header` | honoured |
//! | `payload_in_metadata`, `header_in_metadata`, `normalize_payload_in_metadata`, `claim_to_headers`, `clear_route_cache` | honoured |
//! | `local_jwks` | honoured when it is inline; a file, an environment variable: NACK |
//! | `remote_jwks` | honoured but for its `retry_policy` and `async_fetch` (warning): keys are fetched ahead, and again after failures |
//! | `failed_status_in_metadata` | NACK |
//! | `jwt_cache_config` | warning: tokens are kept in any case |
//! | **JwtRequirement** `provider_name`, `provider_and_audiences`, `requires_any`, `requires_all`, `allow_missing`, `allow_missing_or_failed` | honoured; nothing demands nothing |
//! | `extract_only_without_validation` | NACK |
//! | a list of fewer than two | NACK |

mod filter;
mod provider;
mod requirement;

pub(super) use filter::{authentication, authn_per_route, wire_authentication, wire_authn_per_route};

#[cfg(test)]
pub(super) mod tests;
