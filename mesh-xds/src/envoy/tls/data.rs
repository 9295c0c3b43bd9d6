use envoy_types::pb::envoy::config::core::v3::DataSource as Wire;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use mesh_core::tls::{DataSource, Sensitive};

use crate::envoy::error::{Error, Report};

pub(super) fn data(report: &mut Report, field: &str, source: &Wire) -> Result<DataSource, Error> {
    report.within(field, |report| {
        let Wire { watched_directory, specifier } = source;
        report.ignored("watched_directory", watched_directory);
        let source = match report.required("specifier", specifier.as_ref())? {
            Specifier::Filename(path) if !path.is_empty() => DataSource::File(path.as_str().into()),
            Specifier::InlineBytes(bytes) if !bytes.is_empty() => DataSource::Inline(bytes.as_slice().into()),
            Specifier::InlineString(text) if !text.is_empty() => DataSource::Inline(text.as_bytes().into()),
            Specifier::EnvironmentVariable(_) => {
                return Err(Error::Unsupported { field: report.at("environment_variable") });
            }
            Specifier::Filename(_) => return Err(Error::Missing { field: report.at("filename") }),
            Specifier::InlineBytes(_) => return Err(Error::Missing { field: report.at("inline_bytes") }),
            Specifier::InlineString(_) => return Err(Error::Missing { field: report.at("inline_string") }),
        };
        Ok(source)
    })
}

pub(super) fn optional_data(
    report: &mut Report,
    field: &str,
    source: Option<&Wire>,
) -> Result<Option<DataSource>, Error> {
    source.map(|source| data(report, field, source)).transpose()
}

pub(super) fn sensitive(report: &mut Report, field: &str, source: &Wire) -> Result<Sensitive, Error> {
    data(report, field, source).map(Sensitive)
}

pub(super) fn wire_data(source: &DataSource) -> Wire {
    let specifier = match source {
        DataSource::File(path) => Specifier::Filename(path.to_string()),
        DataSource::Inline(bytes) => Specifier::InlineBytes(bytes.to_vec()),
    };
    Wire { watched_directory: None, specifier: Some(specifier) }
}
