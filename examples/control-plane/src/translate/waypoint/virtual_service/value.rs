use std::collections::BTreeMap;

use http::HeaderName;
use mesh_core::gateway::virtual_service::{HeaderEdit, Headers, TextMatch};
use mesh_core::route::{Denominator, Fraction, Template};

use super::regex;
use crate::finding::Faults;
use crate::resource::virtual_service as source;

/// How a text must look; `None` where it only must be there.
pub(super) fn text_match(field: &str, text: &source::TextMatch, faults: &mut Faults<'_>) -> Option<TextMatch> {
    let source::TextMatch { exact, prefix, regex: expression } = text;
    if [exact, prefix, expression].iter().filter(|way| way.is_some()).count() > 1 {
        faults.error(field, "of `exact`, `prefix` and `regex` there may be one");
    }
    match (exact, prefix, expression) {
        (Some(text), ..) => Some(TextMatch::Exact(text.as_str().into())),
        (None, Some(text), _) => Some(TextMatch::Prefix(text.as_str().into())),
        (None, None, Some(text)) => regex(field, text, faults).map(TextMatch::Regex),
        (None, None, None) => None,
    }
}

pub(super) fn header_name(field: &str, name: &str, faults: &mut Faults<'_>) -> Option<HeaderName> {
    let read = HeaderName::from_bytes(name.as_bytes()).ok();
    if read.is_none() {
        faults.error(field, format_args!("`{name}` is no header"));
    }
    read
}

/// A share, in millionths.
pub(super) fn percentage(field: &str, share: source::Percentage, faults: &mut Faults<'_>) -> Fraction {
    if !(0.0..=100.0).contains(&share.value) {
        faults.error(field, format_args!("{} is no share in percent", share.value));
    }
    // From 0 to 1,000,000.
    let numerator = (share.value.clamp(0.0, 100.0) * 10_000.0).round() as u32;
    Fraction { numerator, denominator: Denominator::Million }
}

pub(super) fn headers(headers: &source::Headers, faults: &mut Faults<'_>) -> Headers {
    let source::Headers { request, response } = headers;
    let mut edit = |field: &str, edit: Option<&source::HeaderEdit>| {
        edit.map(|edit| faults.within(field, |faults| header_edit(edit, faults))).unwrap_or_default()
    };
    Headers { request: edit("request", request.as_ref()), response: edit("response", response.as_ref()) }
}

fn header_edit(edit: &source::HeaderEdit, faults: &mut Faults<'_>) -> HeaderEdit {
    let source::HeaderEdit { set, add, remove } = edit;
    let mut valued = |field: &str, list: &BTreeMap<String, String>| -> Vec<(HeaderName, Template)> {
        let one = |(name, value): (&String, &String)| {
            let value = template(&format!("{field}[{name}]"), value, faults);
            Some((header_name(field, name, faults)?, value?))
        };
        list.iter().filter_map(one).collect()
    };
    HeaderEdit {
        set: valued("set", set),
        add: valued("add", add),
        remove: remove.iter().filter_map(|name| header_name("remove", name, faults)).collect(),
    }
}

fn template(field: &str, text: &str, faults: &mut Faults<'_>) -> Option<Template> {
    match Template::new(text) {
        Ok(template) => Some(template),
        Err(error) => {
            faults.error(field, error);
            None
        }
    }
}
