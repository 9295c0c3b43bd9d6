mod ext_authz;
mod rate_limit;
pub(in crate::envoy) mod values;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, GoogleGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::config::route::v3::rate_limit::Action;
use envoy_types::pb::envoy::config::route::v3::rate_limit::action::{self, ActionSpecifier};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3 as authz;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::check_settings::ServiceOverride;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz::Services;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3 as limit;
use envoy_types::pb::envoy::r#type::matcher::v3::{ListStringMatcher, MetadataMatcher};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{Duration as Span, Struct, UInt32Value, UInt64Value};
use mesh_core::companion::ext_authz::{HeaderChoice, Service};
use mesh_core::route::{CheckOverride, DescriptorAction, FilterOverride, Hits};
use mesh_core::string_match::Pattern;
use proptest::prelude::*;
use prost::Message;
use std::time::Duration;

use super::*;
use crate::envoy::error::{Decoded, Error};
use crate::envoy::route::{Place, rate_limit as policy, wire_rate_limit};
use crate::envoy::testing::{changes, damaged, field, read, warned, whole};
use crate::envoy::wire::boolean;

proptest! {
    #[test]
    fn what_is_written_is_read(
        authz in values::ext_authz(),
        check in values::check_override(),
        limit in values::global_rate_limit(),
        level in values::rate_limit_override(),
        of_route in values::rate_limit(0..=10),
    ) {
        prop_assert_eq!(read(|report| ext_authz(report, &wire_ext_authz(&authz))), Ok(whole(authz)));
        let decoded = read(|report| ext_authz_per_route(report, &wire_ext_authz_per_route(&check)));
        prop_assert_eq!(decoded, Ok(whole(FilterOverride::ExternalAuthz(check))));
        prop_assert_eq!(read(|report| global_rate_limit(report, &wire_global_rate_limit(&limit))), Ok(whole(limit)));
        let decoded = read(|report| rate_limit_per_route(report, &wire_rate_limit_per_route(&level)));
        prop_assert_eq!(decoded, Ok(whole(level)));
        let decoded = read(|report| policy(report, &wire_rate_limit(&of_route), Place::Route));
        prop_assert_eq!(decoded, Ok(whole(of_route)));
    }

    #[test]
    fn bytes_of_any_kind_are_survived(
        authz in values::ext_authz(),
        limit in values::global_rate_limit(),
        changes in changes(),
    ) {
        let bytes = damaged(wire_ext_authz(&authz).encode_to_vec(), &changes);
        if let Ok(wire) = authz::ExtAuthz::decode(&*bytes) {
            let _ = read(|report| ext_authz(report, &wire));
        }
        let bytes = damaged(wire_global_rate_limit(&limit).encode_to_vec(), &changes);
        if let Ok(wire) = limit::RateLimit::decode(&*bytes) {
            let _ = read(|report| global_rate_limit(report, &wire));
        }
    }
}

fn grpc_service() -> core::GrpcService {
    let target = EnvoyGrpc { cluster_name: "authz".into(), ..EnvoyGrpc::default() };
    core::GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)), ..core::GrpcService::default() }
}

fn list(names: &[&str]) -> Option<ListStringMatcher> {
    let exact = |name: &&str| crate::envoy::string_matcher::wire_pattern(&Pattern::exact(name));
    Some(ListStringMatcher { patterns: names.iter().map(exact).collect() })
}

fn check(change: impl FnOnce(&mut authz::CheckSettings)) -> Result<Decoded<FilterOverride>, Error> {
    let mut settings = authz::CheckSettings::default();
    change(&mut settings);
    let wire = authz::ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) };
    read(|report| ext_authz_per_route(report, &wire))
}

fn limits(
    change: impl FnOnce(&mut limit::RateLimit),
) -> Result<Decoded<mesh_core::companion::rate_limit::GlobalRateLimit>, Error> {
    let service = envoy_types::pb::envoy::config::ratelimit::v3::RateLimitServiceConfig {
        grpc_service: Some(grpc_service()),
        transport_api_version: 2,
    };
    let mut wire =
        limit::RateLimit { domain: "shop".into(), rate_limit_service: Some(service), ..limit::RateLimit::default() };
    change(&mut wire);
    read(|report| global_rate_limit(report, &wire))
}

fn with_policy(
    place: Place,
    change: impl FnOnce(&mut route::RateLimit),
) -> Result<Decoded<mesh_core::route::RateLimit>, Error> {
    let mut wire = route::RateLimit { actions: vec![of(generic(|_| ()))], ..route::RateLimit::default() };
    change(&mut wire);
    read(|report| policy(report, &wire, place))
}

fn of(specifier: ActionSpecifier) -> Action {
    Action { action_specifier: Some(specifier) }
}

fn generic(change: impl FnOnce(&mut action::GenericKey)) -> ActionSpecifier {
    let mut key = action::GenericKey { descriptor_value: "v".into(), ..action::GenericKey::default() };
    change(&mut key);
    ActionSpecifier::GenericKey(key)
}

fn metadata(change: impl FnOnce(&mut action::MetaData)) -> ActionSpecifier {
    let mut wire = action::MetaData { descriptor_key: "k".into(), metadata_key: key(&["a"]), ..Default::default() };
    change(&mut wire);
    ActionSpecifier::Metadata(wire)
}

fn key(path: &[&str]) -> Option<envoy_types::pb::envoy::r#type::metadata::v3::MetadataKey> {
    use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key::{PathSegment, path_segment::Segment};
    let segment = |key: &&str| PathSegment { segment: Some(Segment::Key((*key).into())) };
    let path = path.iter().map(segment).collect();
    Some(envoy_types::pb::envoy::r#type::metadata::v3::MetadataKey { key: "f".into(), path })
}

#[test]
fn policies_of_routes_and_filters() {
    let stage = |value| Some(UInt32Value { value });
    let hits = |number: Option<u64>, format: &str| {
        let number = number.map(|value| UInt64Value { value });
        Some(route::rate_limit::HitsAddend { number, format: format.into(), is_negative_hits: false })
    };
    let unit = |unit| {
        use route::rate_limit::r#override::{OverrideSpecifier, RateLimitOverride};
        let limit = OverrideSpecifier::RateLimit(RateLimitOverride { requests_per_unit: 1, unit });
        Some(route::rate_limit::Override { override_specifier: Some(limit) })
    };
    let deprecated = || {
        let wire =
            action::DynamicMetaData { descriptor_key: "k".into(), metadata_key: key(&["a"]), ..Default::default() };
        ActionSpecifier::DynamicMetadata(wire)
    };
    let masked = |v4, v6| {
        let mask = action::MaskedRemoteAddress { v4_prefix_mask_len: stage(v4), v6_prefix_mask_len: stage(v6) };
        ActionSpecifier::MaskedRemoteAddress(mask)
    };
    let on_route = |change: &dyn Fn(&mut route::RateLimit)| with_policy(Place::Route, change);
    let in_filter = |change: &dyn Fn(&mut route::RateLimit)| with_policy(Place::Filter, change);
    let with = |specifier: ActionSpecifier| with_policy(Place::Route, |wire| wire.actions = vec![of(specifier)]);
    for (decoded, expected) in [
        (on_route(&|wire| wire.stage = stage(11)), "stage"),
        (in_filter(&|wire| wire.stage = stage(0)), "stage"),
        (in_filter(&|wire| wire.disable_key = "k".into()), "disable_key"),
        (in_filter(&|wire| wire.actions = vec![of(deprecated())]), "actions[0].dynamic_metadata"),
        (on_route(&|wire| wire.apply_on_stream_done = true), "apply_on_stream_done"),
        (on_route(&|wire| wire.x_ratelimit_option = 9), "x_ratelimit_option"),
        (on_route(&|wire| wire.actions.clear()), "actions"),
        (on_route(&|wire| wire.hits_addend = hits(Some(1_000_000_001), "")), "hits_addend.number"),
        (on_route(&|wire| wire.hits_addend = hits(Some(1), "%REQ(a)%")), "hits_addend.format"),
        (on_route(&|wire| wire.hits_addend = hits(None, "")), "hits_addend.number"),
        (on_route(&|wire| wire.hits_addend = hits(None, "%BYTES_RECEIVED%")), "hits_addend.format"),
        (on_route(&|wire| wire.limit = unit(0)), "limit.rate_limit.unit"),
        (on_route(&|wire| wire.limit = unit(8)), "limit.rate_limit.unit"),
        (on_route(&|wire| wire.limit = Some(Default::default())), "limit.override_specifier"),
        (on_route(&|wire| wire.actions = vec![Action::default()]), "actions[0].action_specifier"),
        (with(ActionSpecifier::Extension(Default::default())), "actions[0].extension"),
        (with(generic(|key| key.descriptor_value.clear())), "actions[0].generic_key.descriptor_value"),
        (with(masked(33, 1)), "actions[0].masked_remote_address.v4_prefix_mask_len"),
        (with(masked(1, 129)), "actions[0].masked_remote_address.v6_prefix_mask_len"),
        (with(metadata(|wire| wire.source = 1)), "actions[0].metadata.source"),
        (with(metadata(|wire| wire.metadata_key = key(&[]))), "actions[0].metadata.metadata_key.path"),
        (with(ActionSpecifier::RequestHeaders(Default::default())), "actions[0].request_headers.header_name"),
        (
            with(ActionSpecifier::QueryParameters(Default::default())),
            "actions[0].query_parameters.query_parameter_name",
        ),
        (with(ActionSpecifier::HeaderValueMatch(Default::default())), "actions[0].header_value_match.headers"),
        (
            with(ActionSpecifier::QueryParameterValueMatch(Default::default())),
            "actions[0].query_parameter_value_match.query_parameters",
        ),
        (
            with(ActionSpecifier::RemoteAddressMatch(Default::default())),
            "actions[0].remote_address_match.descriptor_value",
        ),
    ] {
        assert_eq!(field(decoded), expected);
    }
    let runtime = on_route(&|wire| wire.disable_key = "k".into()).unwrap();
    assert_eq!(warned(&runtime), ["disable_key"]);
    let default = with(generic(|key| key.default_value = "d".into())).unwrap();
    assert_eq!(warned(&default), ["actions[0].generic_key.default_value"]);
    // The value is a text, as in Envoy.
    let value = with(generic(|key| key.descriptor_value = "%NOPE%".into())).unwrap().value;
    assert_eq!(value.actions, [DescriptorAction::GenericKey { key: "generic_key".into(), value: "%NOPE%".into() }]);
    let old = with(deprecated()).unwrap().value;
    assert_eq!(old.actions, with(metadata(|_| ())).unwrap().value.actions);
    let counted = in_filter(&|wire| wire.hits_addend = hits(Some(0), "")).unwrap().value;
    assert_eq!(counted.hits, Some(Hits::Number { number: 0, negative: false }));
}
