use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::envoy::config::rbac::v3 as wire;
use envoy_types::pb::envoy::config::rbac::v3::principal::{Authenticated, Identifier, Set};
use ipnet::IpNet;
use mesh_core::authz::rbac::Principal;

use super::policy::{Depth, some, wire_path};
use crate::envoy::cidr::{cidr, wire_cidr};
use crate::envoy::error::{Error, Report};
use crate::envoy::filter_state::{peer_principal, wire_peer_principal};
use crate::envoy::header_matcher::wire_header_match;
use crate::envoy::metadata_matcher::wire_metadata_match;
use crate::envoy::string_matcher::{pattern, wire_pattern};

pub(super) fn principal(report: &mut Report, wire: &wire::Principal, depth: Depth) -> Result<Principal, Error> {
    let wire::Principal { identifier } = wire;
    match report.required("identifier", identifier.as_ref())? {
        Identifier::AndIds(set) => list(report, "and_ids", set, depth).map(Principal::And),
        Identifier::OrIds(set) => list(report, "or_ids", set, depth).map(Principal::Or),
        Identifier::NotId(wire) => {
            let depth = depth.below(report, "not_id")?;
            let inner = report.within("not_id", |report| principal(report, wire, depth))?;
            Ok(Principal::Not(Box::new(inner)))
        }
        Identifier::Any(true) => Ok(Principal::Any),
        Identifier::Any(false) => Err(report.invalid("any", "must be true")),
        Identifier::Authenticated(Authenticated { principal_name: None }) => Ok(Principal::Authenticated(None)),
        Identifier::Authenticated(Authenticated { principal_name: Some(matcher) }) => {
            let name = report.within("authenticated.principal_name", |report| pattern(report, matcher))?;
            Ok(Principal::Authenticated(Some(name)))
        }
        Identifier::SourceIp(net) => range(report, "source_ip", net).map(Principal::SourceIp),
        Identifier::DirectRemoteIp(net) => range(report, "direct_remote_ip", net).map(Principal::DirectRemoteIp),
        Identifier::RemoteIp(net) => range(report, "remote_ip", net).map(Principal::RemoteIp),
        Identifier::Header(matcher) => depth.header(report, matcher).map(Principal::Header),
        Identifier::UrlPath(matcher) => depth.path(report, matcher).map(Principal::Path),
        Identifier::Metadata(matcher) => depth.metadata(report, matcher).map(Principal::Metadata),
        Identifier::SourcedMetadata(wire) => depth.sourced_metadata(report, wire).map(Principal::Metadata),
        Identifier::FilterState(matcher) => {
            report.within("filter_state", |report| peer_principal(report, matcher)).map(Principal::PeerPrincipal)
        }
        Identifier::Custom(_) => Err(Error::Unsupported { field: report.at("custom") }),
    }
}

fn range(report: &mut Report, field: &str, net: &CidrRange) -> Result<IpNet, Error> {
    report.within(field, |report| cidr(report, net))
}

fn list(report: &mut Report, field: &str, set: &Set, depth: Depth) -> Result<Vec<Principal>, Error> {
    let depth = depth.below(report, field)?;
    let Set { ids } = set;
    report.within(field, |report| some(report, "ids", ids, |report, wire| principal(report, wire, depth)))
}

pub(super) fn wire_principal(principal: &Principal) -> wire::Principal {
    let set = |list: &[Principal]| Set { ids: list.iter().map(wire_principal).collect() };
    let identifier = match principal {
        Principal::Any => Identifier::Any(true),
        Principal::And(list) => Identifier::AndIds(set(list)),
        Principal::Or(list) => Identifier::OrIds(set(list)),
        Principal::Not(inner) => Identifier::NotId(Box::new(wire_principal(inner))),
        Principal::Authenticated(name) => {
            Identifier::Authenticated(Authenticated { principal_name: name.as_ref().map(wire_pattern) })
        }
        Principal::PeerPrincipal(name) => Identifier::FilterState(wire_peer_principal(name)),
        Principal::Metadata(matcher) => Identifier::Metadata(wire_metadata_match(matcher)),
        Principal::SourceIp(range) => Identifier::SourceIp(wire_cidr(range)),
        Principal::DirectRemoteIp(range) => Identifier::DirectRemoteIp(wire_cidr(range)),
        Principal::RemoteIp(range) => Identifier::RemoteIp(wire_cidr(range)),
        Principal::Header(matcher) => Identifier::Header(wire_header_match(matcher)),
        Principal::Path(pattern) => Identifier::UrlPath(wire_path(pattern)),
    };
    wire::Principal { identifier: Some(identifier) }
}
