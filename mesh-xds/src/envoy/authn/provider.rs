use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HttpUri};
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_claim_to_header::PathSegment;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_provider::{
    JwksSourceSpecifier, NormalizePayload,
};
use http::HeaderName;
use mesh_core::authn::{
    ClaimHeader, DEFAULT_CLOCK_SKEW, DEFAULT_KEY_LIFE, KeySource, PayloadHeader, Places, Provider, RemoteKeys,
    TokenHeader,
};
use mesh_core::name::Text;

use crate::envoy::error::{Error, Report};
use crate::envoy::route::inline;
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::envoy::wire::{duration, optional_duration, span};

/// Shortest time for which fetched keys count, as Envoy wants it.
const SHORTEST_LIFE: Duration = Duration::from_millis(1);

pub(super) fn provider(report: &mut Report, wire: &wire::JwtProvider) -> Result<Provider, Error> {
    let wire::JwtProvider {
        issuer,
        audiences,
        subjects,
        require_expiration,
        max_lifetime,
        forward,
        from_headers,
        from_params,
        from_cookies,
        forward_payload_header,
        pad_forward_payload_header,
        payload_in_metadata,
        normalize_payload_in_metadata,
        header_in_metadata,
        failed_status_in_metadata,
        clock_skew_seconds,
        jwt_cache_config,
        claim_to_headers,
        clear_route_cache,
        jwks_source_specifier,
    } = wire;
    report.refused("failed_status_in_metadata", failed_status_in_metadata)?;
    report.ignored("jwt_cache_config", jwt_cache_config);
    let skew = Duration::from_secs((*clock_skew_seconds).into());
    let payload_header = some(forward_payload_header).map(|name| header(report, "forward_payload_header", name));
    let space_delimited = match normalize_payload_in_metadata {
        Some(NormalizePayload { space_delimited_claims }) => texts(space_delimited_claims),
        None => Vec::new(),
    };
    Ok(Provider {
        issuer: some(issuer).map(Text::from),
        audiences: texts(audiences),
        subjects: report.optional("subjects", subjects.as_ref(), pattern)?,
        require_expiration: *require_expiration,
        max_lifetime: optional_duration(report, "max_lifetime", max_lifetime.as_ref())?,
        clock_skew: if skew.is_zero() { DEFAULT_CLOCK_SKEW } else { skew },
        keys: keys(report, jwks_source_specifier.as_ref())?,
        places: Places {
            headers: report.each("from_headers", from_headers, token_header)?,
            params: names(report, "from_params", from_params)?,
            cookies: names(report, "from_cookies", from_cookies)?,
        },
        forward: *forward,
        payload_header: payload_header
            .transpose()?
            .map(|name| PayloadHeader { name, padded: *pad_forward_payload_header }),
        claim_headers: report.each("claim_to_headers", claim_to_headers, claim_header)?,
        payload_in_metadata: some(payload_in_metadata).map(Text::from),
        header_in_metadata: some(header_in_metadata).map(Text::from),
        space_delimited_claims: space_delimited,
        clear_route_cache: *clear_route_cache,
    })
}

/// A text that may be absent, which is as good as empty.
fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn texts(list: &[String]) -> Vec<Text> {
    list.iter().map(|text| Text::from(text.as_str())).collect()
}

fn names(report: &mut Report, field: &str, list: &[String]) -> Result<Vec<Text>, Error> {
    report.each(field, list, |report, name| report.named("name", name))
}

fn header(report: &Report, field: &str, name: &str) -> Result<HeaderName, Error> {
    name.parse().map_err(|_| report.invalid(field, format_args!("`{name}` is no name of a header")))
}

fn token_header(report: &mut Report, wire: &wire::JwtHeader) -> Result<TokenHeader, Error> {
    let wire::JwtHeader { name, value_prefix } = wire;
    Ok(TokenHeader { name: header(report, "name", name)?, prefix: value_prefix.as_str().into() })
}

fn claim_header(report: &mut Report, wire: &wire::JwtClaimToHeader) -> Result<ClaimHeader, Error> {
    let wire::JwtClaimToHeader { header_name, claim_name, claim_path } = wire;
    let (field, claim): (_, Vec<Text>) = match (claim_name.is_empty(), claim_path.is_empty()) {
        (false, true) => ("claim_name", claim_name.split('.').map(Text::from).collect()),
        (true, false) => ("claim_path", claim_path.iter().map(|PathSegment { key }| key.as_str().into()).collect()),
        (true, true) => return Err(Error::Missing { field: report.at("claim_name") }),
        (false, false) => return Err(report.invalid("claim_path", "stands beside `claim_name`")),
    };
    if claim.iter().any(Text::is_empty) {
        return Err(report.invalid(field, "has an empty part"));
    }
    Ok(ClaimHeader { header: header(report, "header_name", header_name)?, claim })
}

fn keys(report: &mut Report, source: Option<&JwksSourceSpecifier>) -> Result<KeySource, Error> {
    match report.required("jwks_source_specifier", source)? {
        JwksSourceSpecifier::RemoteJwks(wire) => {
            report.within("remote_jwks", |report| remote(report, wire)).map(KeySource::Remote)
        }
        JwksSourceSpecifier::LocalJwks(wire) => report.within("local_jwks", |report| {
            let text = String::from_utf8(inline(report, wire)?);
            let text = text.map_err(|_| report.invalid("inline_bytes", "are no text"))?;
            Ok(KeySource::Inline(text.into()))
        }),
    }
}

fn remote(report: &mut Report, wire: &wire::RemoteJwks) -> Result<RemoteKeys, Error> {
    let wire::RemoteJwks { http_uri, cache_duration, async_fetch, retry_policy } = wire;
    report.ignored("async_fetch", async_fetch);
    report.ignored("retry_policy", retry_policy);
    let life = optional_duration(report, "cache_duration", cache_duration.as_ref())?.unwrap_or(DEFAULT_KEY_LIFE);
    if life < SHORTEST_LIFE {
        return Err(report.invalid("cache_duration", "is no time"));
    }
    let http_uri = report.required("http_uri", http_uri.as_ref())?;
    report.within("http_uri", |report| {
        let HttpUri { uri, timeout, http_upstream_type } = http_uri;
        let url: Option<http::Uri> = uri.parse().ok();
        let fits = |url: &http::Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
        if !url.as_ref().is_some_and(fits) {
            return Err(report.invalid("uri", format_args!("`{uri}` is no URL of http or https")));
        }
        let timeout = duration(report, "timeout", report.required("timeout", timeout.as_ref())?)?;
        let HttpUpstreamType::Cluster(cluster) = report.required("cluster", http_upstream_type.as_ref())?;
        let cluster = report.named("cluster", cluster)?;
        Ok(RemoteKeys { uri: uri.as_str().into(), cluster, timeout, life })
    })
}

pub(super) fn wire_provider(provider: &Provider) -> wire::JwtProvider {
    let Provider {
        issuer,
        audiences,
        subjects,
        require_expiration,
        max_lifetime,
        clock_skew,
        keys,
        places: Places { headers, params, cookies },
        forward,
        payload_header,
        claim_headers,
        payload_in_metadata,
        header_in_metadata,
        space_delimited_claims,
        clear_route_cache,
    } = provider;
    let strings = |list: &[Text]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    let string = |text: &Option<Text>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    let claims = strings(space_delimited_claims);
    let payload_name = payload_header.as_ref().map(|header| header.name.to_string()).unwrap_or_default();
    wire::JwtProvider {
        issuer: string(issuer),
        audiences: strings(audiences),
        subjects: subjects.as_ref().map(wire_pattern),
        require_expiration: *require_expiration,
        max_lifetime: max_lifetime.map(span),
        forward: *forward,
        from_headers: headers.iter().map(wire_token_header).collect(),
        from_params: strings(params),
        from_cookies: strings(cookies),
        forward_payload_header: payload_name,
        pad_forward_payload_header: payload_header.as_ref().is_some_and(|header| header.padded),
        payload_in_metadata: string(payload_in_metadata),
        normalize_payload_in_metadata: (!claims.is_empty())
            .then_some(NormalizePayload { space_delimited_claims: claims }),
        header_in_metadata: string(header_in_metadata),
        // None at all cannot be written; a second is the least.
        clock_skew_seconds: u32::try_from(clock_skew.as_secs()).unwrap_or(u32::MAX).max(1),
        claim_to_headers: claim_headers.iter().map(wire_claim_header).collect(),
        clear_route_cache: *clear_route_cache,
        jwks_source_specifier: Some(wire_keys(keys)),
        ..wire::JwtProvider::default()
    }
}

fn wire_token_header(TokenHeader { name, prefix }: &TokenHeader) -> wire::JwtHeader {
    wire::JwtHeader { name: name.to_string(), value_prefix: prefix.to_string() }
}

fn wire_claim_header(ClaimHeader { header, claim }: &ClaimHeader) -> wire::JwtClaimToHeader {
    let header_name = header.to_string();
    let parts: Vec<String> = claim.iter().map(ToString::to_string).collect();
    // A path says everything; a name is known to older Envoys too.
    match parts.iter().any(|part| part.contains('.')) {
        false => {
            wire::JwtClaimToHeader { header_name, claim_name: parts.join("."), ..wire::JwtClaimToHeader::default() }
        }
        true => {
            let claim_path = parts.into_iter().map(|key| PathSegment { key }).collect();
            wire::JwtClaimToHeader { header_name, claim_path, ..wire::JwtClaimToHeader::default() }
        }
    }
}

fn wire_keys(keys: &KeySource) -> JwksSourceSpecifier {
    match keys {
        KeySource::Inline(text) => {
            let specifier = Some(Specifier::InlineString(text.to_string()));
            JwksSourceSpecifier::LocalJwks(DataSource { specifier, watched_directory: None })
        }
        KeySource::Remote(RemoteKeys { uri, cluster, timeout, life }) => {
            let http_uri = HttpUri {
                uri: uri.to_string(),
                timeout: Some(span(*timeout)),
                http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.to_string())),
            };
            JwksSourceSpecifier::RemoteJwks(wire::RemoteJwks {
                http_uri: Some(http_uri),
                cache_duration: Some(span(*life)),
                ..wire::RemoteJwks::default()
            })
        }
    }
}
