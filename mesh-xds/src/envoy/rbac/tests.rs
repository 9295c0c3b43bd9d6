use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::rbac::v3 as wire;
use envoy_types::pb::envoy::config::rbac::v3::{permission, principal};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as http;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3 as network;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::{PathSegment, path_segment};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    FilterStateMatcher, MetadataMatcher, PathMatcher, StringMatcher, ValueMatcher, filter_state_matcher,
    string_matcher, value_matcher,
};
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use mesh_core::authz::rbac::{PEER_PRINCIPAL, Permission, Policy, Principal};
use mesh_core::path::PathTemplate;
use mesh_core::request::{MetadataMatch, ValueMatch};
use mesh_core::string_match::Pattern;
use proptest::prelude::*;
use prost::Message;

use super::{http_rbac, network_rbac, rbac_per_route, wire_http_rbac, wire_network_rbac, wire_rbac_per_route};
use crate::envoy::testing::{changed, changes, damaged, field, read, warned, whole};
use crate::limits::MAX_CONDITION_DEPTH;

/// Values of the core, of any shape that can be written.
pub(in crate::envoy) mod values {
    use std::time::Duration;

    use ipnet::IpNet;
    use mesh_core::authz::rbac::{Action, Permission, Policy, Principal, Rbac, RbacFilter};
    use mesh_core::listener::{Enforcement, NetworkRbac};
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use mesh_core::path::PathTemplate;
    use mesh_core::request::{MetadataMatch, NumberMatch, ValueMatch};

    use crate::envoy::testing::{header, pattern, text};

    fn range() -> impl Strategy<Value = IpNet> {
        let v4 = (any::<std::net::Ipv4Addr>(), 0..=32u8).prop_map(|(ip, len)| IpNet::new(ip.into(), len));
        let v6 = (any::<std::net::Ipv6Addr>(), 0..=128u8).prop_map(|(ip, len)| IpNet::new(ip.into(), len));
        prop_oneof![v4, v6].prop_map(|net| net.unwrap().trunc())
    }

    fn value() -> impl Strategy<Value = ValueMatch> {
        let number = prop_oneof![
            any::<f64>().prop_map(NumberMatch::Exact),
            any::<(f64, f64)>().prop_map(|(start, end)| NumberMatch::Range { start, end }),
        ];
        let leaf = prop_oneof![
            Just(ValueMatch::Null),
            any::<bool>().prop_map(ValueMatch::Bool),
            any::<bool>().prop_map(ValueMatch::Present),
            number.prop_map(ValueMatch::Number),
            pattern().prop_map(ValueMatch::Text),
        ];
        leaf.prop_recursive(3, 8, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|inner| ValueMatch::Contains(Box::new(inner))),
                vec(inner, 2..4).prop_map(ValueMatch::Or),
            ]
        })
    }

    fn metadata() -> impl Strategy<Value = MetadataMatch> {
        (text(), vec(text(), 1..4), value(), any::<bool>()).prop_map(|(filter, path, value, invert)| MetadataMatch {
            filter,
            path,
            value,
            invert,
        })
    }

    fn template() -> impl Strategy<Value = PathTemplate> {
        select(vec!["/", "/a/*", "/a/{b}/**", "/{a=b/*}/c", "/**.html"])
            .prop_map(|source| PathTemplate::new(source).unwrap())
    }

    pub(super) fn permission(requests: bool) -> impl Strategy<Value = Permission> {
        let plain = prop_oneof![
            Just(Permission::Any),
            range().prop_map(Permission::DestinationIp),
            any::<u16>().prop_map(Permission::DestinationPort),
            (0..65536u32, 1..100u32)
                .prop_map(|(start, len)| Permission::DestinationPorts(start..(start + len).min(65536))),
            pattern().prop_map(Permission::ServerName),
        ];
        let of_requests = prop_oneof![
            header().prop_map(Permission::Header),
            pattern().prop_map(Permission::Path),
            template().prop_map(Permission::PathTemplate),
            metadata().prop_map(Permission::Metadata),
        ];
        let leaf = if requests { prop_oneof![plain, of_requests].boxed() } else { plain.boxed() };
        leaf.prop_recursive(3, 8, 2, |inner| {
            prop_oneof![
                vec(inner.clone(), 1..3).prop_map(Permission::And),
                vec(inner.clone(), 1..3).prop_map(Permission::Or),
                inner.prop_map(|inner| Permission::Not(Box::new(inner))),
            ]
        })
    }

    pub(super) fn principal(requests: bool) -> impl Strategy<Value = Principal> {
        let plain = prop_oneof![
            Just(Principal::Any),
            option::of(pattern()).prop_map(Principal::Authenticated),
            pattern().prop_map(Principal::PeerPrincipal),
            range().prop_map(Principal::SourceIp),
            range().prop_map(Principal::DirectRemoteIp),
            range().prop_map(Principal::RemoteIp),
        ];
        let of_requests = prop_oneof![
            header().prop_map(Principal::Header),
            pattern().prop_map(Principal::Path),
            metadata().prop_map(Principal::Metadata),
        ];
        let leaf = if requests { prop_oneof![plain, of_requests].boxed() } else { plain.boxed() };
        leaf.prop_recursive(3, 8, 2, |inner| {
            prop_oneof![
                vec(inner.clone(), 1..3).prop_map(Principal::And),
                vec(inner.clone(), 1..3).prop_map(Principal::Or),
                inner.prop_map(|inner| Principal::Not(Box::new(inner))),
            ]
        })
    }

    pub(in crate::envoy) fn filter(requests: bool) -> impl Strategy<Value = RbacFilter> {
        let policy = (vec(permission(requests), 1..3), vec(principal(requests), 1..3))
            .prop_map(|(permissions, principals)| Policy { permissions, principals });
        let action = select(vec![Action::Allow, Action::Deny, Action::Log]);
        let rbac = (action, btree_map(text(), policy, 0..3)).prop_map(|(action, policies)| Rbac { action, policies });
        let rbac = rbac.boxed();
        (option::of(rbac.clone()), option::of(rbac), text()).prop_map(|(rules, shadow, shadow_prefix)| RbacFilter {
            rules,
            shadow,
            shadow_prefix,
        })
    }

    pub(in crate::envoy) fn network() -> impl Strategy<Value = NetworkRbac> {
        let enforcement = select(vec![Enforcement::OnFirstByte, Enforcement::Continuous]);
        let delay = option::of((0..100u64).prop_map(Duration::from_millis));
        (filter(false), enforcement, delay).prop_map(|(filter, enforcement, delay_deny)| NetworkRbac {
            filter,
            enforcement,
            delay_deny,
        })
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(filter in values::filter(true), network in values::network()) {
        let wire = wire_rbac_per_route(&filter);
        prop_assert_eq!(read(|report| rbac_per_route(report, &wire)), Ok(whole(Some(filter.clone()))));
        let wire = wire_http_rbac(&filter);
        prop_assert_eq!(read(|report| http_rbac(report, &wire)), Ok(whole(filter)));
        let wire = wire_network_rbac(&network);
        prop_assert_eq!(read(|report| network_rbac(report, &wire)), Ok(whole(network)));
    }

    #[test]
    fn no_bytes_make_it_panic(filter in values::filter(true), changes in changes()) {
        let bytes = wire_rbac_per_route(&filter).encode_to_vec();
        if let Ok(wire) = http::RbacPerRoute::decode(&*damaged(bytes, &changes)) {
            let _ = read(|report| rbac_per_route(report, &wire));
        }
    }
}

fn rules_of(permission: wire::Permission, principal: wire::Principal) -> wire::Rbac {
    let policy = wire::Policy { permissions: vec![permission], principals: vec![principal], ..Default::default() };
    wire::Rbac { action: 0, policies: HashMap::from([("p".to_owned(), policy)]), audit_logging_options: None }
}

fn may(rule: permission::Rule) -> wire::Permission {
    wire::Permission { rule: Some(rule) }
}

fn who(identifier: principal::Identifier) -> wire::Principal {
    wire::Principal { identifier: Some(identifier) }
}

fn on_requests(rules: wire::Rbac) -> http::Rbac {
    http::Rbac { rules: Some(rules), ..Default::default() }
}

fn extension<T: Message + prost::Name>(config: &T) -> TypedExtensionConfig {
    TypedExtensionConfig { name: "any".to_owned(), typed_config: Some(crate::envoy::wire::any(config)) }
}

/// What Istio writes for a waypoint.
#[test]
fn conditions_of_a_waypoint_are_read() {
    use permission::Rule;
    use principal::Identifier;
    let exact = |text: &str| StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::Exact(text.to_owned())),
        ..Default::default()
    };
    let text = ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::StringMatch(exact("a"))) };
    let segment = |key: &str| PathSegment { segment: Some(path_segment::Segment::Key(key.to_owned())) };
    let claim = MetadataMatcher {
        filter: "envoy.filters.http.jwt_authn".to_owned(),
        path: vec![segment("payload"), segment("iss")],
        value: Some(text),
        invert: false,
    };
    let matcher = Some(filter_state_matcher::Matcher::StringMatch(exact("spiffe://d/web")));
    let peer = FilterStateMatcher { key: "io.istio.peer_principal".to_owned(), matcher };
    let template = UriTemplateMatchConfig { path_template: "/a/*/**".to_owned() };
    let sourced = wire::SourcedMetadata { metadata_matcher: Some(claim.clone()), metadata_source: 0 };

    let is_a = ValueMatch::Text(Pattern::exact("a"));
    let claimed = MetadataMatch::new("envoy.filters.http.jwt_authn", vec!["payload".into(), "iss".into()], is_a);
    for (rule, identifier, permission, principal) in [
        (
            Rule::UriTemplate(extension(&template)),
            Identifier::FilterState(peer),
            Permission::PathTemplate(PathTemplate::new("/a/*/**").unwrap()),
            Principal::PeerPrincipal(Pattern::exact("spiffe://d/web")),
        ),
        (
            Rule::Metadata(claim.clone()),
            Identifier::SourcedMetadata(sourced.clone()),
            Permission::Metadata(claimed.clone()),
            Principal::Metadata(claimed.clone()),
        ),
        (
            Rule::SourcedMetadata(sourced),
            Identifier::Metadata(claim),
            Permission::Metadata(claimed.clone()),
            Principal::Metadata(claimed),
        ),
    ] {
        let wire = on_requests(rules_of(may(rule), who(identifier)));
        let filter = read(|report| http_rbac(report, &wire)).unwrap().value;
        let policy = filter.rules.unwrap().policies.remove("p").unwrap();
        assert_eq!(policy, Policy { permissions: vec![permission], principals: vec![principal] });
    }
}

#[test]
fn values_within_values_have_an_end() {
    let deep = |depth| (0..depth).fold(ValueMatch::Null, |inner, _| ValueMatch::Contains(Box::new(inner)));
    let reading = |depth| {
        let matcher = MetadataMatch::new("f", vec!["k".into()], deep(depth));
        let permission = super::permission::wire_permission(&Permission::Metadata(matcher));
        let wire = on_requests(rules_of(permission, who(principal::Identifier::Any(true))));
        read(|report| http_rbac(report, &wire))
    };
    assert!(reading(MAX_CONDITION_DEPTH).is_ok());
    assert!(field(reading(MAX_CONDITION_DEPTH + 1)).starts_with("rules.policies[p].permissions[0].metadata.value."));
}

#[test]
fn conditions_that_are_not_supported_are_refused_by_name() {
    use permission::Rule;
    use principal::Identifier;
    let anybody = || who(Identifier::Any(true));
    let set = || permission::Set { rules: Vec::new() };
    let nested = permission::Set { rules: vec![may(Rule::Metadata(Default::default()))] };
    let of_route =
        || wire::SourcedMetadata { metadata_source: wire::MetadataSource::Route.into(), ..Default::default() };
    let template = UriTemplateMatchConfig { path_template: "no slash".to_owned() };
    let address = filter_state_matcher::Matcher::AddressMatch(Default::default());
    let peer = |matcher| FilterStateMatcher { key: PEER_PRINCIPAL.to_owned(), matcher };
    let ports = |start, end| Rule::DestinationPortRange(Int32Range { start, end });
    for (name, rule) in [
        ("metadata.path", Rule::Metadata(Default::default())),
        ("sourced_metadata.metadata_matcher", Rule::SourcedMetadata(Default::default())),
        ("sourced_metadata.metadata_source", Rule::SourcedMetadata(of_route())),
        ("matcher", Rule::Matcher(Default::default())),
        ("uri_template.typed_config", Rule::UriTemplate(Default::default())),
        ("uri_template.typed_config", Rule::UriTemplate(extension(&PathMatcher::default()))),
        ("uri_template.typed_config.path_template", Rule::UriTemplate(extension(&template))),
        ("any", Rule::Any(false)),
        ("and_rules.rules", Rule::AndRules(set())),
        ("or_rules.rules", Rule::OrRules(set())),
        ("or_rules.rules[0].metadata.path", Rule::OrRules(nested)),
        ("not_rule.rule", Rule::NotRule(Box::default())),
        ("destination_port", Rule::DestinationPort(65536)),
        ("destination_port_range", ports(2, 2)),
        ("destination_port_range", ports(-1, 2)),
        ("destination_port_range", ports(1, 65537)),
        ("destination_ip.address_prefix", Rule::DestinationIp(Default::default())),
        ("url_path.path", Rule::UrlPath(PathMatcher { rule: None })),
        ("header.name", Rule::Header(HeaderMatcher::default())),
    ] {
        let wire = on_requests(rules_of(may(rule), anybody()));
        let named = field(read(|report| http_rbac(report, &wire)));
        assert_eq!(named, format!("rules.policies[p].permissions[0].{name}"));
    }
    let set = || principal::Set { ids: Vec::new() };
    for (name, identifier) in [
        ("metadata.path", Identifier::Metadata(Default::default())),
        ("sourced_metadata.metadata_matcher", Identifier::SourcedMetadata(Default::default())),
        ("sourced_metadata.metadata_source", Identifier::SourcedMetadata(of_route())),
        ("filter_state.key", Identifier::FilterState(Default::default())),
        ("filter_state.matcher", Identifier::FilterState(peer(None))),
        ("filter_state.address_match", Identifier::FilterState(peer(Some(address)))),
        ("custom", Identifier::Custom(Default::default())),
        ("any", Identifier::Any(false)),
        ("and_ids.ids", Identifier::AndIds(set())),
        ("or_ids.ids", Identifier::OrIds(set())),
        ("not_id.identifier", Identifier::NotId(Box::default())),
        ("remote_ip.address_prefix", Identifier::RemoteIp(Default::default())),
    ] {
        let wire = on_requests(rules_of(may(Rule::Any(true)), who(identifier)));
        let named = field(read(|report| http_rbac(report, &wire)));
        assert_eq!(named, format!("rules.policies[p].principals[0].{name}"));
    }
}

#[test]
fn policies_are_whole_or_refused() {
    use permission::Rule;
    type Change = fn(&mut wire::Policy);
    let cases: [(&str, Change); 5] = [
        ("permissions", |policy| policy.permissions.clear()),
        ("principals", |policy| policy.principals.clear()),
        ("condition", |policy| policy.condition = Some(Default::default())),
        ("checked_condition", |policy| policy.checked_condition = Some(Default::default())),
        ("cel_config", |policy| policy.cel_config = Some(Default::default())),
    ];
    let good = || rules_of(may(Rule::Any(true)), who(principal::Identifier::Any(true)));
    for (name, change) in cases {
        let mut rules = good();
        change(rules.policies.get_mut("p").unwrap());
        let wire = on_requests(rules);
        assert_eq!(field(read(|report| http_rbac(report, &wire))), format!("rules.policies[p].{name}"));
    }
    let wire = on_requests(changed(good(), |rules| rules.action = 3));
    assert_eq!(field(read(|report| http_rbac(report, &wire))), "rules.action");
    let wire = http::Rbac { matcher: Some(Default::default()), ..on_requests(good()) };
    assert_eq!(field(read(|report| http_rbac(report, &wire))), "matcher");
    let wire = http::Rbac { shadow_matcher: Some(Default::default()), ..on_requests(good()) };
    assert_eq!(field(read(|report| http_rbac(report, &wire))), "shadow_matcher");
    let rules = changed(good(), |rules| rules.audit_logging_options = Some(Default::default()));
    let wire = http::Rbac { track_per_rule_stats: true, ..on_requests(rules) };
    let decoded = read(|report| http_rbac(report, &wire)).unwrap();
    assert_eq!(warned(&decoded), ["track_per_rule_stats", "rules.audit_logging_options"]);

    assert_eq!(read(|report| rbac_per_route(report, &Default::default())), Ok(whole(None)));
    let wire = network::Rbac { enforcement_type: 2, ..Default::default() };
    assert_eq!(field(read(|report| network_rbac(report, &wire))), "enforcement_type");
}

#[test]
fn a_connection_has_nothing_of_a_request() {
    use permission::Rule;
    use principal::Identifier;
    let header = || HeaderMatcher { name: "x".into(), ..Default::default() };
    let path = || root_path();
    let said = || MetadataMatch::new("f", vec!["k".into()], ValueMatch::Null);
    let template = || super::permission::wire_permission(&Permission::PathTemplate(PathTemplate::new("/a/*").unwrap()));
    for (name, permission, principal) in [
        ("permissions[0].header", may(Rule::Header(header())), who(Identifier::Any(true))),
        ("permissions[0].url_path", may(Rule::UrlPath(path())), who(Identifier::Any(true))),
        ("permissions[0].uri_template", template(), who(Identifier::Any(true))),
        (
            "permissions[0].metadata",
            super::permission::wire_permission(&Permission::Metadata(said())),
            who(Identifier::Any(true)),
        ),
        (
            "principals[0].metadata",
            may(Rule::Any(true)),
            super::principal::wire_principal(&Principal::Metadata(said())),
        ),
        ("principals[0].header", may(Rule::Any(true)), who(Identifier::Header(header()))),
        ("principals[0].url_path", may(Rule::Any(true)), who(Identifier::UrlPath(path()))),
    ] {
        let rules = rules_of(permission, principal);
        let wire = on_requests(rules.clone());
        assert!(read(|report| http_rbac(report, &wire)).is_ok());
        let wire = network::Rbac { rules: Some(rules), ..Default::default() };
        assert_eq!(field(read(|report| network_rbac(report, &wire))), format!("rules.policies[p].{name}"));
    }
}

fn root_path() -> PathMatcher {
    super::policy::wire_path(&Pattern::exact("/"))
}

#[test]
fn conditions_within_conditions_have_an_end() {
    let deep = |depth: usize| {
        let permission = (0..depth).fold(Permission::Any, |inner, at| match at % 3 {
            0 => Permission::Not(Box::new(inner)),
            1 => Permission::And(vec![inner]),
            _ => Permission::Or(vec![inner]),
        });
        let principal = (0..depth).fold(Principal::Any, |inner, _| Principal::Not(Box::new(inner)));
        (super::permission::wire_permission(&permission), super::principal::wire_principal(&principal))
    };
    let (permission, principal) = deep(MAX_CONDITION_DEPTH);
    let (deeper_permission, deeper_principal) = deep(MAX_CONDITION_DEPTH + 1);
    let reading = |permission: &wire::Permission, principal: &wire::Principal| {
        // Through bytes, where Protobuf has a limit of its own.
        let bytes = on_requests(rules_of(permission.clone(), principal.clone())).encode_to_vec();
        let wire = http::Rbac::decode(&*bytes).unwrap();
        read(|report| http_rbac(report, &wire))
    };
    assert!(reading(&permission, &principal).is_ok());
    assert!(field(reading(&deeper_permission, &principal)).starts_with("rules.policies[p].permissions[0]."));
    assert!(field(reading(&permission, &deeper_principal)).starts_with("rules.policies[p].principals[0]."));
}
