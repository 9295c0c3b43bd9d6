//! Numbers that several parts of a cluster hold.

use std::num::NonZeroU32;

use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::UInt32Value;

use crate::envoy::error::{Error, Report};

/// From 0 to 100.
pub(super) fn percent(report: &Report, field: &str, value: Option<Percent>) -> Result<Option<f64>, Error> {
    match value {
        None => Ok(None),
        Some(Percent { value }) if (0.0..=100.0).contains(&value) => Ok(Some(value)),
        Some(Percent { value }) => Err(report.invalid(field, format_args!("{value} is not from 0 to 100"))),
    }
}

pub(super) fn number(value: Option<UInt32Value>, default: u32) -> u32 {
    value.map_or(default, |value| value.value)
}

/// A number that must be there and not 0.
pub(super) fn required_positive(report: &Report, field: &str, value: Option<UInt32Value>) -> Result<NonZeroU32, Error> {
    let UInt32Value { value } = report.required(field, value)?;
    NonZeroU32::new(value).ok_or_else(|| report.invalid(field, "must not be 0"))
}
