//! Filters of [`mesh_core::resilience`]; the tables of their fields stand with those of routes.
//!
//! | field | how it is taken |
//! | --- | --- |
//! | **Cors** | honoured: only routes have policies |
//! | **HTTPFault**, **LocalRateLimit**, **HeaderMutation**, **Buffer** | as on routes |
//! | **StatefulSession** | as on routes; without a `session_state` only routes have sessions |

use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutation;
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::google::protobuf::Any;
use mesh_core::listener::HttpFilterKind;
use mesh_core::route::StatefulSession as Session;
use prost::{Message, Name};

use crate::envoy::error::{Error, Report};
use crate::envoy::route::{
    body_limit, fault, header_mutation, local_rate_limit, stateful_session, wire_stateful_session,
};
use crate::envoy::wire::{any, holds, unpack};

const FIELD: &str = "typed_config";

/// One of these filters; `None` if it is another.
pub(super) fn traffic_filter(report: &mut Report, config: &Any) -> Result<Option<HttpFilterKind>, Error> {
    if holds::<Cors>(config) {
        let Cors {} = unpack(report, FIELD, config)?;
        return Ok(Some(HttpFilterKind::Cors));
    }
    if holds::<HttpFault>(config) {
        return read(report, config, fault).map(|fault| Some(HttpFilterKind::Fault(Box::new(fault))));
    }
    if holds::<StatefulSession>(config) {
        let session = read(report, config, |report, wire: &StatefulSession| {
            wire.session_state.is_some().then(|| stateful_session(report, wire)).transpose()
        });
        return session.map(HttpFilterKind::Session).map(Some);
    }
    if holds::<LocalRateLimit>(config) {
        let limit = read(report, config, local_rate_limit)?;
        return Ok(Some(HttpFilterKind::LocalRateLimit(Box::new(limit))));
    }
    if holds::<HeaderMutation>(config) {
        return read(report, config, header_mutation).map(HttpFilterKind::HeaderMutation).map(Some);
    }
    if holds::<Buffer>(config) {
        return read(report, config, body_limit).map(HttpFilterKind::BodyLimit).map(Some);
    }
    Ok(None)
}

fn read<M: Message + Name + Default, T>(
    report: &mut Report,
    config: &Any,
    decode: impl FnOnce(&mut Report, &M) -> Result<T, Error>,
) -> Result<T, Error> {
    let wire = unpack(report, FIELD, config)?;
    report.within(FIELD, |report| decode(report, &wire))
}

pub(super) fn wire_cors() -> Any {
    any(&Cors {})
}

pub(super) fn wire_session(session: Option<&Session>) -> Any {
    any(&session.map(wire_stateful_session).unwrap_or_default())
}
