//! Where a resource that is named is to come from. A client of this crate has one source, the discovery server that sent the
//! name; a name that points elsewhere is refused, because the server's resource of that name would be another one.
//!
//! | field | how it is taken |
//! | --- | --- |
//! | `ads`, `self` | honoured |
//! | `path`, `path_config_source`, `api_config_source`, `authorities` | NACK |
//! | `resource_api_version` | NACK unless V3 or unset |
//! | `initial_fetch_timeout` | warning |

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource, SelfConfigSource};

use super::error::{Error, Report};

/// Checks that a source is the server itself.
pub(super) fn same_server(report: &mut Report, field: &str, source: Option<&ConfigSource>) -> Result<(), Error> {
    let source = report.required(field, source)?;
    report.within(field, |report| {
        let ConfigSource { authorities, initial_fetch_timeout, resource_api_version, config_source_specifier } = source;
        report.refused("authorities", authorities)?;
        v3(report, "resource_api_version", *resource_api_version)?;
        report.ignored("initial_fetch_timeout", initial_fetch_timeout);
        match report.required("config_source_specifier", config_source_specifier.as_ref())? {
            ConfigSourceSpecifier::Ads(AggregatedConfigSource {}) => Ok(()),
            ConfigSourceSpecifier::Self_(SelfConfigSource { transport_api_version }) => {
                report.within("self", |report| v3(report, "transport_api_version", *transport_api_version))
            }
            ConfigSourceSpecifier::Path(_) => Err(Error::Unsupported { field: report.at("path") }),
            ConfigSourceSpecifier::PathConfigSource(_) => {
                Err(Error::Unsupported { field: report.at("path_config_source") })
            }
            ConfigSourceSpecifier::ApiConfigSource(_) => {
                Err(Error::Unsupported { field: report.at("api_config_source") })
            }
        }
    })
}

pub(super) fn v3(report: &Report, field: &str, version: i32) -> Result<(), Error> {
    match ApiVersion::try_from(version) {
        Ok(ApiVersion::Auto | ApiVersion::V3) => Ok(()),
        _ => Err(Error::Unsupported { field: report.at(field) }),
    }
}

pub(super) fn wire_same_server() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}
