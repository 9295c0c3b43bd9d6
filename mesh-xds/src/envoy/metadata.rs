//! Values of metadata ↔ [`MetadataValue`].

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use mesh_core::name::Text;
use mesh_core::route::{MetadataValue, Subset};

use super::error::{Error, Report};

/// A value; none if it is of a kind that nothing is compared with.
pub(super) fn value(wire: &Value) -> Option<MetadataValue> {
    match wire.kind.as_ref()? {
        Kind::BoolValue(value) => Some(MetadataValue::Bool(*value)),
        Kind::NumberValue(value) => Some(MetadataValue::Number(*value)),
        Kind::StringValue(value) => Some(MetadataValue::Text(value.as_str().into())),
        Kind::NullValue(_) | Kind::StructValue(_) | Kind::ListValue(_) => None,
    }
}

pub(super) fn wire_value(value: &MetadataValue) -> Value {
    let kind = match value {
        MetadataValue::Bool(value) => Kind::BoolValue(*value),
        MetadataValue::Number(value) => Kind::NumberValue(*value),
        MetadataValue::Text(value) => Kind::StringValue(value.to_string()),
    };
    Value { kind: Some(kind) }
}

/// Values that are asked for: all must be of a kind that can be compared with.
pub(super) fn subset(report: &Report, field: &str, wire: &Struct) -> Result<Subset, Error> {
    let one = |(key, wire): (&String, &Value)| {
        let value =
            value(wire).ok_or_else(|| Error::Unsupported { field: report.at(format_args!("{field}.{key}")) })?;
        Ok((Text::from(key.as_str()), value))
    };
    wire.fields.iter().map(one).collect()
}

pub(super) fn wire_subset(subset: &Subset) -> Struct {
    Struct { fields: subset.iter().map(|(key, value)| (key.to_string(), wire_value(value))).collect() }
}
