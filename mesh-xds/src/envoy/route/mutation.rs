//! | field | how it is taken |
//! | --- | --- |
//! | **HeaderValueOption** `header`, `append_action`, `keep_empty_value` | honoured |
//! | the deprecated `append` | honoured; together with an `append_action`: NACK |
//! | **HeaderValue** `key`, `value`, `raw_value` that is text | honoured; operators: those of [`Template`] |
//! | other operators, a `raw_value` that is no text or beside a `value` | NACK |
//! | a header with a colon, `host` | NACK, also where it should be removed |

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as WireValue, HeaderValueOption};
use http::{HeaderName, HeaderValue};
use mesh_core::route::{Addition, AppendAction, HeaderEdits, Mutation, Template};

use crate::envoy::error::{Error, Report};

/// The four lists that each level of a route table has.
pub(super) struct Edits<A, R> {
    pub(super) request_add: A,
    pub(super) request_remove: R,
    pub(super) response_add: A,
    pub(super) response_remove: R,
}

pub(super) fn edits(
    report: &mut Report,
    wire: &Edits<&Vec<HeaderValueOption>, &Vec<String>>,
) -> Result<HeaderEdits, Error> {
    let removal = |report: &mut Report, name: &String| editable(report, "name", name);
    let request = Mutation {
        remove: report.each("request_headers_to_remove", wire.request_remove, removal)?,
        add: report.each("request_headers_to_add", wire.request_add, addition)?,
    };
    let response = Mutation {
        remove: report.each("response_headers_to_remove", wire.response_remove, removal)?,
        add: report.each("response_headers_to_add", wire.response_add, addition)?,
    };
    Ok(HeaderEdits { request, response })
}

impl From<&HeaderEdits> for Edits<Vec<HeaderValueOption>, Vec<String>> {
    fn from(edits: &HeaderEdits) -> Self {
        let HeaderEdits { request, response } = edits;
        let add = |mutation: &Mutation| mutation.add.iter().map(wire_addition).collect();
        let remove = |mutation: &Mutation| mutation.remove.iter().map(HeaderName::to_string).collect();
        Self {
            request_add: add(request),
            request_remove: remove(request),
            response_add: add(response),
            response_remove: remove(response),
        }
    }
}

/// The name of a header that is no pseudo-header.
pub(super) fn header_name(report: &Report, field: &str, name: &str) -> Result<HeaderName, Error> {
    HeaderName::try_from(name).map_err(|_| report.invalid(field, format_args!("`{name}` is no name of a header")))
}

/// Path and authority are rewritten by other means; what else begins with a colon makes the message what it is.
pub(super) fn editable(report: &Report, field: &str, name: &str) -> Result<HeaderName, Error> {
    let name = header_name(report, field, name)?;
    match name == http::header::HOST {
        true => Err(report.invalid(field, "`host` is rewritten, not edited")),
        false => Ok(name),
    }
}

pub(in crate::envoy) fn addition(report: &mut Report, wire: &HeaderValueOption) -> Result<Addition, Error> {
    let HeaderValueOption { header, append, append_action, keep_empty_value } = wire;
    let action = HeaderAppendAction::try_from(*append_action)
        .map_err(|_| report.invalid("append_action", format_args!("{append_action} is not known")))?;
    let action = match (append, action) {
        (Some(_), action) if action != HeaderAppendAction::default() => {
            return Err(report.invalid("append", "stands beside `append_action`"));
        }
        (Some(append), _) if !append.value => AppendAction::OverwriteIfExistsOrAdd,
        (_, HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        (_, HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        (_, HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        (_, HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
    };
    let header = report.required("header", header.as_ref())?;
    let (name, value) = report.within("header", |report| header_value(report, header))?;
    Ok(Addition { name, value, action, keep_empty: *keep_empty_value })
}

pub(in crate::envoy) fn header_value(report: &mut Report, wire: &WireValue) -> Result<(HeaderName, Template), Error> {
    let WireValue { key, value, raw_value } = wire;
    let name = editable(report, "key", key)?;
    if !value.is_empty() && !raw_value.is_empty() {
        return Err(report.invalid("raw_value", "stands beside `value`"));
    }
    let (field, text) = match std::str::from_utf8(raw_value) {
        Ok("") => ("value", value.as_str()),
        Ok(raw) => ("raw_value", raw),
        Err(error) => return Err(report.invalid("raw_value", error)),
    };
    if HeaderValue::from_bytes(text.as_bytes()).is_err() {
        return Err(report.invalid(field, "has characters that no header holds"));
    }
    Ok((name, template(report, field, text)?))
}

pub(super) fn template(report: &Report, field: &str, text: &str) -> Result<Template, Error> {
    Template::new(text).map_err(|error| report.invalid(field, error))
}

pub(in crate::envoy) fn wire_addition(addition: &Addition) -> HeaderValueOption {
    let Addition { name, value, action, keep_empty } = addition;
    let action = match action {
        AppendAction::AppendIfExistsOrAdd => HeaderAppendAction::AppendIfExistsOrAdd,
        AppendAction::AddIfAbsent => HeaderAppendAction::AddIfAbsent,
        AppendAction::OverwriteIfExistsOrAdd => HeaderAppendAction::OverwriteIfExistsOrAdd,
        AppendAction::OverwriteIfExists => HeaderAppendAction::OverwriteIfExists,
    };
    let header = WireValue { key: name.to_string(), value: value.as_str().to_owned(), raw_value: Vec::new() };
    let append_action = action.into();
    HeaderValueOption {
        header: Some(header),
        append_action,
        keep_empty_value: *keep_empty,
        ..HeaderValueOption::default()
    }
}
