mod defaults;
mod refused;
pub(in crate::envoy) mod values;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation as Rule;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::Action as RuleAction;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier as DataSpecifier;
use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::config::rbac::v3::{permission, principal};
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action as WireAction;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    self, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy, UpgradeConfig, hash_policy,
};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{retry_policy, route_match};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::LocalRateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::FaultDelay;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::buffer_per_route::Override as BufferOverride;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::{Buffer, BufferPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{HeaderMutationPerRoute, Mutations};
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::stateful_session_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::{
    StatefulSession, StatefulSessionPerRoute,
};
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::r#type::matcher::v3::filter_state_matcher::Matcher as StateMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::{FilterStateMatcher, RegexMatchAndSubstitute, RegexMatcher};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, HttpStatus, TokenBucket};
use envoy_types::pb::google::protobuf::{Any, Duration as Span, UInt64Value};
use mesh_core::request::Condition;
use mesh_core::route::{
    Action, AppendAction, FilterOverride, Forward, HashKey, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig,
    RouteMatch, RouteTable, VirtualHost,
};
use mesh_core::string_match::Pattern;
use proptest::prelude::*;
use prost::{Message, Name};

use super::{decode_route_table, encode_route_table};
use crate::envoy::error::{Decoded, Error};
use crate::envoy::testing::field;
use crate::envoy::wire::{any as pack, boolean, uint32};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(table in values::table()) {
        let decoded = decode_route_table(&encode_route_table(&table)).unwrap();
        prop_assert_eq!(&decoded.value, &table);
        prop_assert_eq!(decoded.warnings, vec![]);
    }

    #[test]
    fn bytes_of_any_kind_are_survived(
        table in values::table(),
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8),
        random in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode_route_table(&random);
        let mut bytes = encode_route_table(&table);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let _ = decode_route_table(&bytes);
    }
}

/// A small table; everything else is a change of it.
fn plain() -> wire::RouteConfiguration {
    let action = wire::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster("c".into())),
        ..wire::RouteAction::default()
    };
    let matcher =
        wire::RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".into())), ..wire::RouteMatch::default() };
    let route =
        wire::Route { r#match: Some(matcher), action: Some(WireAction::Route(action)), ..wire::Route::default() };
    let host = wire::VirtualHost {
        name: "h".into(),
        domains: vec!["*".into()],
        routes: vec![route],
        ..wire::VirtualHost::default()
    };
    wire::RouteConfiguration { name: "r".into(), virtual_hosts: vec![host], ..wire::RouteConfiguration::default() }
}

fn decode(change: impl FnOnce(&mut wire::RouteConfiguration)) -> Result<Decoded<RouteTable>, Error> {
    let mut wire = plain();
    change(&mut wire);
    decode_route_table(&wire.encode_to_vec())
}

fn with_host(change: impl FnOnce(&mut wire::VirtualHost)) -> Result<Decoded<RouteTable>, Error> {
    decode(|wire| change(&mut wire.virtual_hosts[0]))
}

fn with_route(change: impl FnOnce(&mut wire::Route)) -> Result<Decoded<RouteTable>, Error> {
    with_host(|host| change(&mut host.routes[0]))
}

fn with_match(change: impl FnOnce(&mut wire::RouteMatch)) -> Result<Decoded<RouteTable>, Error> {
    with_route(|route| change(route.r#match.as_mut().unwrap()))
}

fn with_action(change: impl FnOnce(&mut wire::RouteAction)) -> Result<Decoded<RouteTable>, Error> {
    with_route(|route| match route.action.as_mut().unwrap() {
        WireAction::Route(action) => change(action),
        _ => unreachable!("the plain table forwards"),
    })
}

fn with_retry(change: impl FnOnce(&mut wire::RetryPolicy)) -> Result<Decoded<RouteTable>, Error> {
    with_action(|action| change(action.retry_policy.get_or_insert_default()))
}

fn with_weights(weights: &[u32], total: Option<u32>) -> Result<Decoded<RouteTable>, Error> {
    let cluster =
        |weight: &u32| ClusterWeight { name: "c".into(), weight: Some(uint32(*weight)), ..ClusterWeight::default() };
    let clusters = weights.iter().map(cluster).collect();
    let weighted =
        wire::WeightedCluster { clusters, total_weight: total.map(uint32), ..wire::WeightedCluster::default() };
    with_action(|action| action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(weighted)))
}

fn with_addition(change: impl FnOnce(&mut core::HeaderValueOption)) -> Result<Decoded<RouteTable>, Error> {
    let header = core::HeaderValue { key: "x-a".into(), value: "b".into(), raw_value: vec![] };
    let mut addition = core::HeaderValueOption { header: Some(header), ..core::HeaderValueOption::default() };
    change(&mut addition);
    with_route(|route| route.request_headers_to_add = vec![addition])
}

fn with_header(key: &str, value: &str) -> Result<Decoded<RouteTable>, Error> {
    with_addition(|addition| {
        addition.header = Some(core::HeaderValue { key: key.into(), value: value.into(), raw_value: vec![] });
    })
}

fn with_filter(config: Any) -> Result<Decoded<RouteTable>, Error> {
    with_route(|route| route.typed_per_filter_config = [("f".to_owned(), config)].into())
}

fn respond(status: u32, specifier: Option<DataSpecifier>) -> Result<Decoded<RouteTable>, Error> {
    let body = Some(core::DataSource { specifier, watched_directory: None });
    let response = wire::DirectResponseAction { status, body, body_format: None };
    with_route(|route| route.action = Some(WireAction::DirectResponse(response)))
}

const HOST: &str = "virtual_hosts[0]";
const ROUTE: &str = "virtual_hosts[0].routes[0]";

/// What an error says, with the usual places abbreviated.
fn refusal(decoded: Result<Decoded<RouteTable>, Error>) -> String {
    decoded.unwrap_err().to_string().replace(ROUTE, "R").replace(HOST, "H")
}

/// Where an error is, with the usual places abbreviated.
fn place(decoded: Result<Decoded<RouteTable>, Error>) -> String {
    refusal(decoded).split('`').nth(1).unwrap_or_default().to_owned()
}

fn warned(decoded: Result<Decoded<RouteTable>, Error>) -> Vec<String> {
    let warnings = decoded.unwrap().warnings;
    warnings.iter().map(|warning| warning.field.replace(ROUTE, "R").replace(HOST, "H")).collect()
}

#[test]
fn a_plain_table_is_read() {
    let host = VirtualHost {
        name: "h".into(),
        domains: vec!["*".into()],
        routes: vec![Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(Forward::to("c"))))],
        ..VirtualHost::default()
    };
    let config = RouteConfig { name: "r".into(), hosts: vec![host], ..RouteConfig::default() };
    assert_eq!(decode(|_| ()).unwrap(), Decoded { value: RouteTable::new(config).unwrap(), warnings: vec![] });
}

/// The error of a setting of a filter, of which a field has been changed.
fn refused<T: Message + Name>(config: T) -> String {
    field(with_route(|route| drop(route.typed_per_filter_config.insert("f".into(), pack(&config)))))
}
