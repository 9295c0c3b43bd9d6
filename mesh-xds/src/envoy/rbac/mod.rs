//! Envoy's role based access control, on connections and on requests ↔ [`mesh_core::authz::rbac`].
//!
//! Every condition restricts somebody, in one direction or the other; none is left out.
//!
//! | field | how it is taken |
//! | --- | --- |
//! | **filter of requests** `rules`, `shadow_rules`, `shadow_rules_stat_prefix`; **per route** `rbac` | honoured; a route without `rbac` has none |
//! | **filter of connections** `rules`, `shadow_rules`, `shadow_rules_stat_prefix`, `enforcement_type`, `delay_deny` | honoured |
//! | `matcher`, `shadow_matcher` | NACK |
//! | `stat_prefix` of connections | without effect: Envoy wants one |
//! | `rules_stat_prefix`, `track_per_rule_stats` | warning |
//! | **RBAC** `action`, `policies` | honoured |
//! | `audit_logging_options` | warning |
//! | **Policy** `permissions`, `principals` | honoured; without either: NACK |
//! | `condition`, `checked_condition`, `cel_config` | NACK |
//! | **Permission** `and_rules`, `or_rules`, `not_rule`, `any`, `destination_ip`, `destination_port`, `destination_port_range`, `requested_server_name` | honoured |
//! | `header`, `url_path`, `uri_template`, `metadata`, `sourced_metadata` of dynamic metadata | honoured on requests; on connections: NACK |
//! | `matcher`, `sourced_metadata` of the route | NACK |
//! | **Principal** `and_ids`, `or_ids`, `not_id`, `any`, `authenticated`, `source_ip`, `direct_remote_ip`, `remote_ip` | honoured |
//! | `filter_state` with the key [`PEER_PRINCIPAL`](mesh_core::authz::rbac::PEER_PRINCIPAL) | honoured; with another: NACK |
//! | `header`, `url_path`, `metadata`, `sourced_metadata` of dynamic metadata | honoured on requests; on connections: NACK |
//! | `custom`, `sourced_metadata` of the route | NACK |
//!
//! Conditions within conditions are followed to a depth of [`MAX_CONDITION_DEPTH`](crate::limits::MAX_CONDITION_DEPTH).

mod filter;
mod permission;
mod policy;
mod principal;

pub(super) use filter::{
    http_rbac, network_rbac, rbac_per_route, wire_http_rbac, wire_network_rbac, wire_rbac_per_route,
};

#[cfg(test)]
pub(super) mod tests;
