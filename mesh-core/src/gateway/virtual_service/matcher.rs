use super::{HttpMatch, TextMatch};
use crate::gateway::Entry;
use crate::gateway::clients::clients_of;
use crate::request::{Condition, Field, HeaderMatch};
use crate::route::{PathMatch, QueryCondition, QueryMatch, RouteMatch};
use crate::string_match::Pattern;

/// The requests that are meant, of those that come in here; `None` if it is none of them.
pub(super) fn route_match(one: &HttpMatch, entry: Entry, gateway: &str) -> Option<RouteMatch> {
    let HttpMatch {
        name: _,
        uri,
        ignore_uri_case,
        scheme,
        method,
        authority,
        headers,
        without_headers,
        query,
        port,
        source_labels,
        source_namespace,
        gateways,
    } = one;
    let here = port.is_none_or(|port| port == entry.port)
        && (gateways.is_empty() || gateways.iter().any(|name| *name == gateway))
        && source_labels.is_empty();
    if !here {
        return None;
    }
    let pseudo = [(Field::Scheme, scheme), (Field::Method, method), (Field::Authority, authority)];
    let pseudo = pseudo.into_iter().filter_map(|(field, text)| Some(like(field, text.as_ref()?)));
    let with = headers.iter().map(|(name, text)| match text {
        Some(text) => like(field(name), text),
        None => HeaderMatch::new(field(name), Condition::Present(true)),
    });
    let without = without_headers.iter().map(|(name, text)| match text {
        // What is missing is unlike anything.
        Some(text) => HeaderMatch { invert: true, missing_as_empty: true, ..like(field(name), text) },
        None => HeaderMatch::new(field(name), Condition::Present(false)),
    });
    let query = query.iter().map(|(name, text)| QueryMatch {
        name: name.clone(),
        condition: text.as_ref().map_or(QueryCondition::Present(true), |text| QueryCondition::Text(pattern(text))),
    });
    Some(RouteMatch {
        headers: pseudo.chain(with).chain(without).collect(),
        query: query.collect(),
        peer: source_namespace.iter().map(clients_of).collect::<Option<_>>()?,
        ..RouteMatch::new(path(uri.as_ref(), *ignore_uri_case))
    })
}

fn path(uri: Option<&TextMatch>, ignore_case: bool) -> PathMatch {
    match uri {
        None => PathMatch::prefix("/"),
        Some(TextMatch::Exact(path)) => PathMatch::Exact { path: path.clone(), ignore_case },
        Some(TextMatch::Prefix(prefix)) => PathMatch::Prefix { prefix: prefix.clone(), ignore_case },
        Some(TextMatch::Regex(regex)) => PathMatch::Regex(regex.clone()),
    }
}

fn field(name: &http::HeaderName) -> Field {
    if *name == http::header::HOST { Field::Authority } else { Field::Header(name.clone()) }
}

fn like(field: Field, text: &TextMatch) -> HeaderMatch {
    HeaderMatch::new(field, Condition::Text(pattern(text)))
}

pub(super) fn pattern(text: &TextMatch) -> Pattern {
    match text {
        TextMatch::Exact(text) => Pattern::Exact { text: text.clone(), ignore_case: false },
        TextMatch::Prefix(text) => Pattern::Prefix { text: text.clone(), ignore_case: false },
        TextMatch::Regex(regex) => Pattern::Regex(regex.clone()),
    }
}
