use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HttpUri, RetryPolicy};
use envoy_types::pb::envoy::config::route::v3::RouteMatch as WireMatch;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_claim_to_header::PathSegment;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_provider::JwksSourceSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::per_route_config::RequirementSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::requirement_rule::RequirementType;
use envoy_types::pb::google::protobuf::Duration as Span;
use mesh_core::authn::limits::MAX_DEPTH;
use mesh_core::authn::{Demand, KeySource, RemoteKeys, Requirement};
use proptest::prelude::*;
use prost::Message;

use super::{authentication, authn_per_route, wire_authentication, wire_authn_per_route};
use crate::envoy::testing::{changed, changes, damaged, field, read, warned, whole};

/// Values of the core, of any shape that can be written.
pub(in crate::envoy) mod values {
    use std::time::Duration;

    use http::HeaderName;
    use mesh_core::authn::{
        Authentication, ClaimHeader, Demand, KeySource, PayloadHeader, Places, Provider, RemoteKeys, Requirement, Rule,
        TokenHeader,
    };
    use mesh_core::name::Text;
    use mesh_core::route::{PathMatch, RouteMatch};
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use crate::envoy::testing::{header, pattern, text};

    fn header_name() -> impl Strategy<Value = HeaderName> {
        "x-[a-z]{1,3}".prop_map(|name| name.parse().unwrap())
    }

    fn seconds(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
        range.prop_map(Duration::from_secs)
    }

    fn keys() -> impl Strategy<Value = KeySource> {
        let remote = (text(), text(), seconds(0..100), seconds(1..100)).prop_map(|(host, cluster, timeout, life)| {
            KeySource::Remote(RemoteKeys { uri: format!("https://{host}/keys").into(), cluster, timeout, life })
        });
        prop_oneof!["[a-z{}]{0,5}".prop_map(|text| KeySource::Inline(text.into())), remote]
    }

    fn places() -> impl Strategy<Value = Places> {
        let token =
            (header_name(), "[A-Z ]{0,2}").prop_map(|(name, prefix)| TokenHeader { name, prefix: Text::from(prefix) });
        (vec(token, 0..2), vec(text(), 0..2), vec(text(), 0..2)).prop_map(|(headers, params, cookies)| Places {
            headers,
            params,
            cookies,
        })
    }

    fn provider() -> impl Strategy<Value = Provider> {
        let claim = (header_name(), vec("[a-z]{1,2}[.]?[a-z]{1,2}".prop_map(Text::from), 1..3))
            .prop_map(|(header, claim)| ClaimHeader { header, claim });
        let payload = (header_name(), any::<bool>()).prop_map(|(name, padded)| PayloadHeader { name, padded });
        let demands = (
            option::of(text()),
            vec(text(), 0..3),
            option::of(pattern()),
            any::<bool>(),
            option::of(seconds(0..9)),
            seconds(1..99),
        );
        let outputs = (
            option::of(payload),
            vec(claim, 0..3),
            option::of(text()),
            option::of(text()),
            vec(text(), 0..3),
            any::<(bool, bool)>(),
        );
        (demands, keys(), places(), outputs).prop_map(|(demands, keys, places, outputs)| {
            let (issuer, audiences, subjects, require_expiration, max_lifetime, clock_skew) = demands;
            let (payload_header, claim_headers, payload_in_metadata, header_in_metadata, space, flags) = outputs;
            Provider {
                issuer,
                audiences,
                subjects,
                require_expiration,
                max_lifetime,
                clock_skew,
                keys,
                places,
                forward: flags.0,
                payload_header,
                claim_headers,
                payload_in_metadata,
                header_in_metadata,
                space_delimited_claims: space,
                clear_route_cache: flags.1,
            }
        })
    }

    fn requirement(names: Vec<Text>) -> impl Strategy<Value = Requirement> {
        let provider =
            (select(names), vec(text(), 0..3)).prop_map(|(name, audiences)| Requirement::Provider { name, audiences });
        let leaf = prop_oneof![
            provider,
            Just(Requirement::Nothing),
            Just(Requirement::AllowMissing),
            Just(Requirement::AllowMissingOrFailed),
        ];
        leaf.prop_recursive(3, 8, 3, |inner| {
            let list = || vec(inner.clone(), 2..4);
            prop_oneof![list().prop_map(Requirement::Any), list().prop_map(Requirement::All)]
        })
    }

    pub(in crate::envoy) fn filter() -> impl Strategy<Value = Authentication> {
        btree_map(text(), provider(), 1..3).prop_flat_map(|providers| {
            let names: Vec<Text> = providers.keys().cloned().collect();
            let requirements = btree_map(text(), requirement(names.clone()), 1..3);
            (Just(providers), requirements).prop_flat_map(move |(providers, requirements)| {
                let demand = prop_oneof![
                    requirement(names.clone()).prop_map(Demand::Inline),
                    select(requirements.keys().cloned().collect::<Vec<_>>()).prop_map(Demand::Named),
                ];
                let rule = (text(), vec(header(), 0..2), demand).prop_map(|(path, headers, demand)| {
                    let path = PathMatch::prefix(&format!("/{path}"));
                    Rule { matcher: RouteMatch { headers, ..RouteMatch::new(path) }, demand }
                });
                (Just(providers), Just(requirements), vec(rule, 0..3), any::<(bool, bool)>()).prop_map(
                    |(providers, requirements, rules, (bypass_cors_preflight, strip_failure_response))| {
                        Authentication { providers, rules, requirements, bypass_cors_preflight, strip_failure_response }
                    },
                )
            })
        })
    }
}

fn inline(text: &str) -> Option<JwksSourceSpecifier> {
    let specifier = Some(Specifier::InlineString(text.into()));
    Some(JwksSourceSpecifier::LocalJwks(DataSource { specifier, watched_directory: None }))
}

fn provider() -> wire::JwtProvider {
    wire::JwtProvider { issuer: "i".into(), jwks_source_specifier: inline("{}"), ..Default::default() }
}

fn remote() -> wire::RemoteJwks {
    let http_uri = HttpUri {
        uri: "https://i/keys".into(),
        timeout: Some(Span { seconds: 1, nanos: 0 }),
        http_upstream_type: Some(HttpUpstreamType::Cluster("c".into())),
    };
    wire::RemoteJwks { http_uri: Some(http_uri), ..Default::default() }
}

fn of(provider: wire::JwtProvider) -> wire::JwtAuthentication {
    wire::JwtAuthentication { providers: [("p".to_owned(), provider)].into(), ..Default::default() }
}

fn wants(requires: RequiresType) -> wire::JwtRequirement {
    wire::JwtRequirement { requires_type: Some(requires) }
}

fn name(name: &str) -> wire::JwtRequirement {
    wants(RequiresType::ProviderName(name.into()))
}

fn rule(requirement: Option<RequirementType>) -> wire::RequirementRule {
    let path_specifier = Some(PathSpecifier::Prefix("/".into()));
    let matcher = WireMatch { path_specifier, ..WireMatch::default() };
    wire::RequirementRule { r#match: Some(matcher), requirement_type: requirement }
}

fn with_rule(requirement: wire::JwtRequirement) -> wire::JwtAuthentication {
    wire::JwtAuthentication { rules: vec![rule(Some(RequirementType::Requires(requirement)))], ..of(provider()) }
}

#[test]
fn defaults_are_envoys() {
    let config = wire::JwtAuthentication { rules: vec![rule(None)], ..of(provider()) };
    let decoded = read(|report| authentication(report, &config)).unwrap();
    assert!(decoded.warnings.is_empty());
    assert_eq!(decoded.value.rules[0].demand, Demand::Inline(Requirement::Nothing));
    let one = &decoded.value.providers["p"];
    assert_eq!(
        (one.clock_skew, one.forward, one.keys.clone()),
        (Duration::from_secs(60), false, KeySource::Inline("{}".into()))
    );

    let fetched = changed(provider(), |p| p.jwks_source_specifier = Some(JwksSourceSpecifier::RemoteJwks(remote())));
    let decoded = read(|report| authentication(report, &of(fetched))).unwrap();
    let keys = RemoteKeys { cluster: "c".into(), timeout: Duration::from_secs(1), ..RemoteKeys::at("https://i/keys") };
    assert_eq!(decoded.value.providers["p"].keys, KeySource::Remote(keys));
    assert_eq!(mesh_core::authn::DEFAULT_KEY_LIFE, Duration::from_secs(600));
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let remote_with = |change: fn(&mut wire::RemoteJwks)| {
        let source = Some(JwksSourceSpecifier::RemoteJwks(changed(remote(), change)));
        of(wire::JwtProvider { jwks_source_specifier: source, ..provider() })
    };
    let uri_with = |change: fn(&mut HttpUri)| {
        let uri = changed(remote().http_uri.unwrap(), change);
        let source = Some(JwksSourceSpecifier::RemoteJwks(wire::RemoteJwks { http_uri: Some(uri), ..remote() }));
        of(wire::JwtProvider { jwks_source_specifier: source, ..provider() })
    };
    let local = |specifier| {
        let source =
            Some(JwksSourceSpecifier::LocalJwks(DataSource { specifier: Some(specifier), watched_directory: None }));
        of(wire::JwtProvider { jwks_source_specifier: source, ..provider() })
    };
    let provider_with = |change: fn(&mut wire::JwtProvider)| of(changed(provider(), change));
    let claim = |claim_name: &str, path: &[&str], header: &str| {
        let claim_path = path.iter().map(|key| PathSegment { key: (*key).into() }).collect();
        let claim = wire::JwtClaimToHeader { header_name: header.into(), claim_name: claim_name.into(), claim_path };
        of(wire::JwtProvider { claim_to_headers: vec![claim], ..provider() })
    };
    let any = |list| wants(RequiresType::RequiresAny(wire::JwtRequirementOrList { requirements: list }));
    let all = |list| wants(RequiresType::RequiresAll(wire::JwtRequirementAndList { requirements: list }));
    let nested = (0..=MAX_DEPTH).fold(name("p"), |inner, _| all(vec![inner, name("p")]));
    let audiences = wire::ProviderWithAudiences { provider_name: "q".into(), audiences: vec![] };
    let named = Some(RequirementType::RequirementName("none".into()));
    for (config, expected) in [
        (
            wire::JwtAuthentication { filter_state_rules: Some(Default::default()), ..of(provider()) },
            "filter_state_rules",
        ),
        (wire::JwtAuthentication { rules: vec![rule(named)], ..of(provider()) }, "rules[0].requirement_name"),
        (wire::JwtAuthentication { rules: vec![Default::default()], ..of(provider()) }, "rules[0].match"),
        (provider_with(|p| p.failed_status_in_metadata = "x".into()), "providers[p].failed_status_in_metadata"),
        (provider_with(|p| p.jwks_source_specifier = None), "providers[p].jwks_source_specifier"),
        (provider_with(|p| p.forward_payload_header = "a b".into()), "providers[p].forward_payload_header"),
        (provider_with(|p| p.from_headers = vec![Default::default()]), "providers[p].from_headers[0].name"),
        (provider_with(|p| p.from_params = vec!["a".into(), String::new()]), "providers[p].from_params[1].name"),
        (provider_with(|p| p.from_cookies = vec![String::new()]), "providers[p].from_cookies[0].name"),
        (provider_with(|p| p.subjects = Some(Default::default())), "providers[p].subjects.match_pattern"),
        (provider_with(|p| p.max_lifetime = Some(Span { seconds: -1, nanos: 0 })), "providers[p].max_lifetime"),
        (claim("", &[], "x"), "providers[p].claim_to_headers[0].claim_name"),
        (claim("a..b", &[], "x"), "providers[p].claim_to_headers[0].claim_name"),
        (claim("", &["a", ""], "x"), "providers[p].claim_to_headers[0].claim_path"),
        (claim("a", &["a"], "x"), "providers[p].claim_to_headers[0].claim_path"),
        (claim("a", &[], ":path"), "providers[p].claim_to_headers[0].header_name"),
        (local(Specifier::Filename("/f".into())), "providers[p].local_jwks.filename"),
        (local(Specifier::EnvironmentVariable("E".into())), "providers[p].local_jwks.environment_variable"),
        (local(Specifier::InlineBytes(vec![0xff])), "providers[p].local_jwks.inline_bytes"),
        (remote_with(|r| r.http_uri = None), "providers[p].remote_jwks.http_uri"),
        (remote_with(|r| r.cache_duration = Some(Span::default())), "providers[p].remote_jwks.cache_duration"),
        (uri_with(|u| u.uri = "ftp://i/".into()), "providers[p].remote_jwks.http_uri.uri"),
        (uri_with(|u| u.uri = "/keys".into()), "providers[p].remote_jwks.http_uri.uri"),
        (uri_with(|u| u.timeout = None), "providers[p].remote_jwks.http_uri.timeout"),
        (uri_with(|u| u.http_upstream_type = None), "providers[p].remote_jwks.http_uri.cluster"),
        (with_rule(name("q")), "rules[0].requires.provider_name"),
        (with_rule(name("")), "rules[0].requires.provider_name"),
        (
            with_rule(wants(RequiresType::ProviderAndAudiences(audiences))),
            "rules[0].requires.provider_and_audiences.provider_name",
        ),
        (with_rule(any(vec![name("p")])), "rules[0].requires.requires_any"),
        (with_rule(all(vec![])), "rules[0].requires.requires_all"),
        (with_rule(any(vec![name("p"), name("q")])), "rules[0].requires.requires_any.requirements[1].provider_name"),
        (
            with_rule(wants(RequiresType::ExtractOnlyWithoutValidation(Default::default()))),
            "rules[0].requires.extract_only_without_validation",
        ),
    ] {
        assert_eq!(field(read(|report| authentication(report, &config))), expected);
    }
    assert!(field(read(|report| authentication(report, &with_rule(nested)))).ends_with("requires_all"));
}

#[test]
fn what_has_no_effect_is_told() {
    let fetched = wire::RemoteJwks {
        async_fetch: Some(Default::default()),
        retry_policy: Some(RetryPolicy::default()),
        ..remote()
    };
    let one = wire::JwtProvider {
        jwt_cache_config: Some(Default::default()),
        jwks_source_specifier: Some(JwksSourceSpecifier::RemoteJwks(fetched)),
        ..provider()
    };
    let config = wire::JwtAuthentication { stat_prefix: "s".into(), ..of(one) };
    let decoded = read(|report| authentication(report, &config)).unwrap();
    let expected = [
        "stat_prefix",
        "providers[p].jwt_cache_config",
        "providers[p].remote_jwks.async_fetch",
        "providers[p].remote_jwks.retry_policy",
    ];
    assert_eq!(warned(&decoded), expected);
}

#[test]
fn a_route_names_a_requirement_or_demands_nothing() {
    let decode = |specifier| {
        let wire = wire::PerRouteConfig { requirement_specifier: specifier };
        read(|report| authn_per_route(report, &wire))
    };
    for name in [None, Some("r".into())] {
        let wire = wire_authn_per_route(name.as_ref());
        assert_eq!(decode(wire.requirement_specifier), Ok(whole(name)));
    }
    assert_eq!(field(decode(None)), "requirement_specifier");
    assert_eq!(field(decode(Some(RequirementSpecifier::Disabled(false)))), "disabled");
    assert_eq!(field(decode(Some(RequirementSpecifier::RequirementName(String::new())))), "requirement_name");
}

proptest! {
    #[test]
    fn decoding_is_the_inverse_of_encoding(filter in values::filter()) {
        let wire = wire_authentication(&filter);
        let wire = wire::JwtAuthentication::decode(wire.encode_to_vec().as_slice()).unwrap();
        prop_assert_eq!(read(|report| authentication(report, &wire)), Ok(whole(filter)));
    }

    #[test]
    fn damaged_bytes_give_an_error_or_a_value(filter in values::filter(), changes in changes()) {
        let bytes = damaged(wire_authentication(&filter).encode_to_vec(), &changes);
        if let Ok(wire) = wire::JwtAuthentication::decode(bytes.as_slice())
            && let Ok(decoded) = read(|report| authentication(report, &wire))
        {
            let again = wire_authentication(&decoded.value);
            prop_assert_eq!(read(|report| authentication(report, &again)), Ok(whole(decoded.value)));
        }
    }
}
