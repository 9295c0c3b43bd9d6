//! | field | how it is taken |
//! | --- | --- |
//! | **HeaderMutation** `mutations`, `most_specific_header_mutations_wins` | honoured |
//! | **HeaderMutationPerRoute** `mutations` | honoured |
//! | **Mutations** `request_mutations`, `response_mutations` | honoured, in their order |
//! | `query_parameter_mutations`, `request_trailers_mutations`, `response_trailers_mutations` | NACK |
//! | **HeaderMutation** of `mutation_rules` `remove`, `append` | honoured as on routes; neither: NACK |
//! | `remove_on_match` | NACK |
//! | **Buffer** `max_request_bytes` | honoured; zero or none: NACK |
//! | **BufferPerRoute** `disabled`, `buffer` | honoured; neither: NACK |

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutation as Rule;
use envoy_types::pb::envoy::config::common::mutation_rules::v3::header_mutation::Action;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::buffer_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::{Buffer, BufferPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3 as wire;
use http::HeaderName;
use mesh_core::route::{HeaderMutation, Mutation};

use super::mutation::{addition, editable, wire_addition};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::uint32;

pub(in crate::envoy) fn header_mutation(
    report: &mut Report,
    wire: &wire::HeaderMutation,
) -> Result<HeaderMutation, Error> {
    let wire::HeaderMutation { mutations, most_specific_header_mutations_wins } = wire;
    let edits = report.optional("mutations", mutations.as_ref(), edits)?.unwrap_or_default();
    Ok(HeaderMutation { most_specific_wins: *most_specific_header_mutations_wins, ..edits })
}

pub(super) fn header_mutation_per_route(
    report: &mut Report,
    wire: &wire::HeaderMutationPerRoute,
) -> Result<HeaderMutation, Error> {
    let wire::HeaderMutationPerRoute { mutations } = wire;
    Ok(report.optional("mutations", mutations.as_ref(), edits)?.unwrap_or_default())
}

fn edits(report: &mut Report, wire: &wire::Mutations) -> Result<HeaderMutation, Error> {
    let wire::Mutations {
        request_mutations,
        query_parameter_mutations,
        response_mutations,
        response_trailers_mutations,
        request_trailers_mutations,
    } = wire;
    report.refused("query_parameter_mutations", query_parameter_mutations)?;
    report.refused("response_trailers_mutations", response_trailers_mutations)?;
    report.refused("request_trailers_mutations", request_trailers_mutations)?;
    Ok(HeaderMutation {
        request: report.each("request_mutations", request_mutations, rule)?,
        response: report.each("response_mutations", response_mutations, rule)?,
        most_specific_wins: false,
    })
}

fn rule(report: &mut Report, Rule { action }: &Rule) -> Result<Mutation, Error> {
    match report.required("action", action.as_ref())? {
        Action::Remove(name) => Ok(Mutation { remove: vec![editable(report, "remove", name)?], add: Vec::new() }),
        Action::Append(wire) => {
            let added = report.within("append", |report| addition(report, wire))?;
            Ok(Mutation { remove: Vec::new(), add: vec![added] })
        }
        Action::RemoveOnMatch(_) => Err(Error::Unsupported { field: report.at("remove_on_match") }),
    }
}

pub(in crate::envoy) fn wire_header_mutation(mutation: &HeaderMutation) -> wire::HeaderMutation {
    wire::HeaderMutation {
        mutations: Some(wire_edits(mutation)),
        most_specific_header_mutations_wins: mutation.most_specific_wins,
    }
}

pub(super) fn wire_header_mutation_per_route(mutation: &HeaderMutation) -> wire::HeaderMutationPerRoute {
    wire::HeaderMutationPerRoute { mutations: Some(wire_edits(mutation)) }
}

fn wire_edits(mutation: &HeaderMutation) -> wire::Mutations {
    let HeaderMutation { request, response, most_specific_wins: _ } = mutation;
    wire::Mutations {
        request_mutations: request.iter().flat_map(wire_rules).collect(),
        response_mutations: response.iter().flat_map(wire_rules).collect(),
        ..wire::Mutations::default()
    }
}

fn wire_rules(mutation: &Mutation) -> impl Iterator<Item = Rule> {
    let removals = mutation.remove.iter().map(HeaderName::to_string).map(Action::Remove);
    let additions = mutation.add.iter().map(wire_addition).map(Action::Append);
    removals.chain(additions).map(|action| Rule { action: Some(action) })
}

pub(in crate::envoy) fn body_limit(report: &mut Report, wire: &Buffer) -> Result<u32, Error> {
    let Buffer { max_request_bytes } = wire;
    match report.required("max_request_bytes", *max_request_bytes)?.value {
        0 => Err(report.invalid("max_request_bytes", "must be more than zero")),
        bytes => Ok(bytes),
    }
}

/// `None` if the filter is disabled.
pub(super) fn body_limit_per_route(report: &mut Report, wire: &BufferPerRoute) -> Result<Option<u32>, Error> {
    match report.required("override", wire.r#override.as_ref())? {
        Override::Disabled(true) => Ok(None),
        Override::Disabled(false) => Err(report.invalid("disabled", "must be true")),
        Override::Buffer(wire) => report.within("buffer", |report| body_limit(report, wire)).map(Some),
    }
}

pub(in crate::envoy) fn wire_body_limit(max_bytes: u32) -> Buffer {
    Buffer { max_request_bytes: Some(uint32(max_bytes)) }
}

pub(super) fn wire_body_limit_per_route(max_bytes: u32) -> BufferPerRoute {
    BufferPerRoute { r#override: Some(Override::Buffer(wire_body_limit(max_bytes))) }
}
