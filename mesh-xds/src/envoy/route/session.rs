//! | field | how it is taken |
//! | --- | --- |
//! | **StatefulSessionPerRoute** `disabled`, `stateful_session` | honoured; neither: NACK |
//! | **StatefulSession** `session_state` | `CookieBasedSessionState`, `HeaderBasedSessionState`; others and none: NACK |
//! | `strict` | honoured |
//! | `status_on_strict_destination_not_found` | NACK, unless it is 503 or left out |
//! | `stat_prefix` | warning |

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::stateful_session_per_route::Override;
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::r#type::http::v3::{Cookie, CookieAttribute};
use envoy_types::pb::google::protobuf::Any;
use mesh_core::route::{CookieKey, SessionState, StatefulSession};

use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{any, holds, optional_duration, span, unpack};

const STATE: &str = "session_state";

/// `None` if the filter is disabled.
pub(super) fn session_per_route(
    report: &mut Report,
    wire: &wire::StatefulSessionPerRoute,
) -> Result<Option<StatefulSession>, Error> {
    match report.required("override", wire.r#override.as_ref())? {
        Override::Disabled(true) => Ok(None),
        Override::Disabled(false) => Err(report.invalid("disabled", "must be true")),
        Override::StatefulSession(wire) => {
            report.within("stateful_session", |report| stateful_session(report, wire)).map(Some)
        }
    }
}

pub(in crate::envoy) fn stateful_session(
    report: &mut Report,
    wire: &wire::StatefulSession,
) -> Result<StatefulSession, Error> {
    let wire::StatefulSession { session_state, strict, stat_prefix, status_on_strict_destination_not_found } = wire;
    report.ignored("stat_prefix", stat_prefix);
    if ![0, 503].contains(status_on_strict_destination_not_found) {
        return Err(Error::Unsupported { field: report.at("status_on_strict_destination_not_found") });
    }
    let TypedExtensionConfig { name: _, typed_config } = report.required(STATE, session_state.as_ref())?;
    let config = report.within(STATE, |report| report.required("typed_config", typed_config.as_ref()))?;
    Ok(StatefulSession { state: report.within(STATE, |report| state(report, config))?, strict: *strict })
}

fn state(report: &mut Report, config: &Any) -> Result<SessionState, Error> {
    if holds::<CookieBasedSessionState>(config) {
        let CookieBasedSessionState { cookie } = unpack(report, "typed_config", config)?;
        let wire = report.required("cookie", cookie.as_ref())?;
        return report.within("cookie", |report| cookie_key(report, wire)).map(SessionState::Cookie);
    }
    if holds::<HeaderBasedSessionState>(config) {
        let HeaderBasedSessionState { name } = unpack(report, "typed_config", config)?;
        let header = name.parse().map_err(|_| report.invalid("name", format_args!("`{name}` is no name of a header")));
        return header.map(SessionState::Header);
    }
    Err(Error::UnsupportedType { field: report.at("typed_config"), type_url: config.type_url.clone() })
}

fn cookie_key(report: &mut Report, wire: &Cookie) -> Result<CookieKey, Error> {
    let Cookie { name, ttl, path, attributes } = wire;
    Ok(CookieKey {
        name: report.named("name", name)?,
        lifetime: optional_duration(report, "ttl", ttl.as_ref())?,
        path: path.as_str().into(),
        attributes: report.each("attributes", attributes, |report, CookieAttribute { name, value }| {
            Ok((report.named("name", name)?, value.as_str().into()))
        })?,
    })
}

pub(super) fn wire_session_per_route(session: &StatefulSession) -> wire::StatefulSessionPerRoute {
    wire::StatefulSessionPerRoute { r#override: Some(Override::StatefulSession(wire_stateful_session(session))) }
}

pub(in crate::envoy) fn wire_stateful_session(session: &StatefulSession) -> wire::StatefulSession {
    let (name, config) = match &session.state {
        SessionState::Cookie(cookie) => {
            ("envoy.http.stateful_session.cookie", any(&CookieBasedSessionState { cookie: Some(wire_cookie(cookie)) }))
        }
        SessionState::Header(name) => {
            ("envoy.http.stateful_session.header", any(&HeaderBasedSessionState { name: name.to_string() }))
        }
    };
    let state = TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) };
    wire::StatefulSession { session_state: Some(state), strict: session.strict, ..wire::StatefulSession::default() }
}

fn wire_cookie(cookie: &CookieKey) -> Cookie {
    let CookieKey { name, lifetime, path, attributes } = cookie;
    let attributes =
        attributes.iter().map(|(name, value)| CookieAttribute { name: name.to_string(), value: value.to_string() });
    Cookie { name: name.to_string(), ttl: lifetime.map(span), path: path.to_string(), attributes: attributes.collect() }
}
