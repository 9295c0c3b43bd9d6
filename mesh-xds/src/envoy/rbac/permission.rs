use envoy_types::pb::envoy::config::rbac::v3 as wire;
use envoy_types::pb::envoy::config::rbac::v3::permission::{Rule, Set};
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use mesh_core::authz::rbac::Permission;

use super::policy::{Depth, some, wire_path, wire_template};
use crate::envoy::cidr::{cidr, wire_cidr};
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::wire_header_match;
use crate::envoy::metadata_matcher::wire_metadata_match;
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::envoy::wire::port;

/// First number that is no port.
const PORTS_END: u32 = 65536;

pub(super) fn permission(report: &mut Report, wire: &wire::Permission, depth: Depth) -> Result<Permission, Error> {
    let wire::Permission { rule } = wire;
    match report.required("rule", rule.as_ref())? {
        Rule::AndRules(set) => list(report, "and_rules", set, depth).map(Permission::And),
        Rule::OrRules(set) => list(report, "or_rules", set, depth).map(Permission::Or),
        Rule::NotRule(wire) => {
            let depth = depth.below(report, "not_rule")?;
            let inner = report.within("not_rule", |report| permission(report, wire, depth))?;
            Ok(Permission::Not(Box::new(inner)))
        }
        Rule::Any(true) => Ok(Permission::Any),
        Rule::Any(false) => Err(report.invalid("any", "must be true")),
        Rule::Header(matcher) => depth.header(report, matcher).map(Permission::Header),
        Rule::UrlPath(matcher) => depth.path(report, matcher).map(Permission::Path),
        Rule::DestinationIp(range) => {
            report.within("destination_ip", |report| cidr(report, range)).map(Permission::DestinationIp)
        }
        Rule::DestinationPort(value) => port(report, "destination_port", *value).map(Permission::DestinationPort),
        Rule::DestinationPortRange(range) => ports(report, range),
        Rule::RequestedServerName(matcher) => {
            let name = report.within("requested_server_name", |report| pattern(report, matcher));
            name.map(Permission::ServerName)
        }
        Rule::Metadata(matcher) => depth.metadata(report, matcher).map(Permission::Metadata),
        Rule::SourcedMetadata(wire) => depth.sourced_metadata(report, wire).map(Permission::Metadata),
        Rule::UriTemplate(wire) => depth.template(report, wire).map(Permission::PathTemplate),
        Rule::Matcher(_) => Err(Error::Unsupported { field: report.at("matcher") }),
    }
}

fn list(report: &mut Report, field: &str, set: &Set, depth: Depth) -> Result<Vec<Permission>, Error> {
    let depth = depth.below(report, field)?;
    let Set { rules } = set;
    report.within(field, |report| some(report, "rules", rules, |report, wire| permission(report, wire, depth)))
}

fn ports(report: &Report, Int32Range { start, end }: &Int32Range) -> Result<Permission, Error> {
    match (u32::try_from(*start), u32::try_from(*end)) {
        (Ok(first), Ok(last)) if first < last && last <= PORTS_END => Ok(Permission::DestinationPorts(first..last)),
        _ => Err(report.invalid("destination_port_range", format_args!("{start} to {end} is no range of ports"))),
    }
}

pub(super) fn wire_permission(permission: &Permission) -> wire::Permission {
    let set = |list: &[Permission]| Set { rules: list.iter().map(wire_permission).collect() };
    // Ports fit: a range of others matches nothing, and is written as one that reads so.
    let signed = |port: u32| i32::try_from(port).unwrap_or(i32::MAX);
    let rule = match permission {
        Permission::Any => Rule::Any(true),
        Permission::And(list) => Rule::AndRules(set(list)),
        Permission::Or(list) => Rule::OrRules(set(list)),
        Permission::Not(inner) => Rule::NotRule(Box::new(wire_permission(inner))),
        Permission::Header(matcher) => Rule::Header(wire_header_match(matcher)),
        Permission::Path(pattern) => Rule::UrlPath(wire_path(pattern)),
        Permission::PathTemplate(template) => Rule::UriTemplate(wire_template(template)),
        Permission::Metadata(matcher) => Rule::Metadata(wire_metadata_match(matcher)),
        Permission::DestinationIp(range) => Rule::DestinationIp(wire_cidr(range)),
        Permission::DestinationPort(port) => Rule::DestinationPort((*port).into()),
        Permission::DestinationPorts(ports) => {
            Rule::DestinationPortRange(Int32Range { start: signed(ports.start), end: signed(ports.end) })
        }
        Permission::ServerName(pattern) => Rule::RequestedServerName(wire_pattern(pattern)),
    };
    wire::Permission { rule: Some(rule) }
}
