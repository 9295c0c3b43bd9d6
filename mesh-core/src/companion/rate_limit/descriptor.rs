use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::filter::Metadata;
use crate::name::Text;
use crate::request::Request;
use crate::route::{
    DescriptorAction, Hits, LimitOverride, MetadataPath, QueryCondition, QueryMatch, Quota, RateLimit, RateUnit,
};

/// What a request is counted by: keys and values in order. Prints as `key=value, key=value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The keys and values; at least one.
    pub entries: Vec<(Text, Text)>,
    /// The limit, instead of the one the service knows.
    pub limit: Option<Quota>,
    /// How much the request counts; `None` is one hit.
    pub hits: Option<u64>,
    /// Whether that is given back rather than taken.
    pub negative: bool,
    /// Whether the client is told of this limit in `x-ratelimit-` headers; `None` is as the filter says.
    pub headers: Option<bool>,
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries = self.entries.iter().enumerate();
        entries.try_for_each(|(at, (key, value))| write!(f, "{}{key}={value}", if at == 0 { "" } else { ", " }))
    }
}

/// What is known of a request when it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The request.
    pub request: Request<'a>,
    /// What filters said of it.
    pub metadata: &'a Metadata,
    /// The cluster we belong to.
    pub source_cluster: &'a str,
    /// The cluster it goes to, if that is known.
    pub destination_cluster: Option<&'a str>,
}

/// What a request is counted by; `None` if it is not counted: an action has no entry to give, or none of them has.
#[must_use]
pub fn descriptor(limit: &RateLimit, facts: &Facts<'_>) -> Option<Descriptor> {
    let mut entries = Vec::with_capacity(limit.actions.len());
    for action in &limit.actions {
        match entry(action, facts) {
            Entry::Is(key, value) => entries.push((key, value)),
            Entry::Skipped => {}
            Entry::Absent => return None,
        }
    }
    if entries.is_empty() {
        return None;
    }
    let quota = limit.limit.as_ref().and_then(|limit| quota(limit, facts.metadata));
    let (hits, negative) = match &limit.hits {
        None => (None, false),
        Some(Hits::Number { number, negative }) => (Some(*number), *negative),
        Some(Hits::Text { text, negative }) => {
            let rendered = text.render(&facts.request.head, facts.request.headers);
            (Some(rendered.parse().ok().filter(|hits| *hits <= Hits::MOST)?), *negative)
        }
    };
    Some(Descriptor { entries, limit: quota, hits, negative, headers: limit.headers })
}

enum Entry {
    Is(Text, Text),
    /// The descriptor is made without it.
    Skipped,
    /// There is no descriptor.
    Absent,
}

impl Entry {
    fn of(key: &Text, value: Option<Cow<'_, str>>, skip_if_absent: bool) -> Self {
        match value {
            Some(value) => Self::Is(key.clone(), Text::from(&*value)),
            None if skip_if_absent => Self::Skipped,
            None => Self::Absent,
        }
    }

    fn when(holds: bool, key: &Text, value: &Text) -> Self {
        if holds { Self::Is(key.clone(), value.clone()) } else { Self::Absent }
    }
}

fn entry(action: &DescriptorAction, facts: &Facts<'_>) -> Entry {
    let request = &facts.request;
    let remote = request.head.source.map(|source| source.to_canonical());
    match action {
        DescriptorAction::SourceCluster => {
            Entry::of(&"source_cluster".into(), Some(Cow::Borrowed(facts.source_cluster)), false)
        }
        DescriptorAction::DestinationCluster => {
            Entry::of(&"destination_cluster".into(), facts.destination_cluster.map(Cow::Borrowed), false)
        }
        DescriptorAction::RequestHeader { name, key, skip_if_absent } => {
            Entry::of(key, request.first(name).map(Cow::Borrowed), *skip_if_absent)
        }
        DescriptorAction::QueryParameter { name, key, skip_if_absent } => {
            Entry::of(key, parameter(request, name), *skip_if_absent)
        }
        DescriptorAction::RemoteAddress => {
            Entry::of(&"remote_address".into(), remote.map(|ip| Cow::Owned(ip.to_string())), false)
        }
        DescriptorAction::MaskedRemoteAddress { v4, v6 } => {
            let net = remote.and_then(|ip| IpNet::new(ip, if ip.is_ipv4() { *v4 } else { *v6 }).ok());
            let text = net.map(|net| Cow::Owned(net.trunc().to_string()));
            Entry::of(&"masked_remote_address".into(), text, false)
        }
        DescriptorAction::GenericKey { key, value } => Entry::Is(key.clone(), value.clone()),
        DescriptorAction::HeaderMatch { key, value, expect, headers } => {
            Entry::when(headers.iter().all(|header| header.is_match(request)) == *expect, key, value)
        }
        DescriptorAction::QueryMatch { key, value, expect, query } => {
            Entry::when(query.iter().all(|matcher| parameter_matches(request, matcher)) == *expect, key, value)
        }
        DescriptorAction::RemoteAddressMatch { key, value, default, ranges, invert } => {
            let within = |ip: IpAddr| ranges.iter().any(|range| range.contains(&ip));
            if remote.is_none_or(|ip| within(ip) == *invert) {
                return Entry::Absent;
            }
            let value = value.render(&request.head, request.headers);
            let default = || default.as_ref().map(|default| Cow::Borrowed(default.as_str()));
            Entry::of(key, Some(value).filter(|value| !value.is_empty()).or_else(default), false)
        }
        DescriptorAction::Metadata { key, at, default, skip_if_absent } => {
            let said = found(at, facts.metadata).and_then(Value::as_str).filter(|said| !said.is_empty());
            let value = said.or_else(|| default.as_ref().map(Text::as_str));
            Entry::of(key, value.map(Cow::Borrowed), *skip_if_absent)
        }
    }
}

fn found<'a>(at: &MetadataPath, metadata: &'a Metadata) -> Option<&'a Value> {
    metadata.at(at.filter.as_str(), &at.keys)
}

/// The first value of a query parameter. Decoded, so that one value is not counted as many by writing it in other ways.
fn parameter<'a>(request: &Request<'a>, name: &Text) -> Option<Cow<'a, str>> {
    let decoded = |text: &'a str| percent_decode_str(text).decode_utf8_lossy();
    let parameters = request.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters = parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")));
    parameters.find_map(|(key, value)| (*name == *decoded(key)).then(|| decoded(value)))
}

fn parameter_matches(request: &Request<'_>, matcher: &QueryMatch) -> bool {
    let value = parameter(request, &matcher.name);
    match &matcher.condition {
        QueryCondition::Present(wanted) => *wanted == value.is_some(),
        QueryCondition::Text(pattern) => value.is_some_and(|value| pattern.is_match(&value)),
    }
}

fn quota(limit: &LimitOverride, metadata: &Metadata) -> Option<Quota> {
    match limit {
        LimitOverride::Fixed(quota) => Some(*quota),
        LimitOverride::Metadata(at) => {
            let said = found(at, metadata)?;
            // Numbers of Protobuf's structures are all floating.
            let requests = said.get("requests_per_unit")?.as_f64()?;
            let whole = requests.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&requests);
            let requests = whole.then_some(requests as u32)?;
            Some(Quota { requests, unit: RateUnit::from_name(said.get("unit")?.as_str()?)? })
        }
    }
}
