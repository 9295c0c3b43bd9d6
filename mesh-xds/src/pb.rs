//! The public protobuf messages that are used here, under one path: the one place where the crate that generates them
//! could be exchanged.

pub use envoy_types::pb::envoy::admin::v3::UpdateFailureState;
pub use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
pub use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
pub use envoy_types::pb::envoy::service::discovery::v3 as discovery;
pub use envoy_types::pb::envoy::service::status::v3 as status;
pub use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
pub use envoy_types::pb::google::protobuf::value::Kind;
pub use envoy_types::pb::google::protobuf::{Any, Duration, Empty, ListValue, Struct, Timestamp, UInt32Value, Value};
pub use envoy_types::pb::google::rpc::Status;
use serde_json::Value as Json;

/// A point in time; `None` before 1970.
pub(crate) fn timestamp(time: std::time::SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    Some(Timestamp { seconds, nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default() })
}

/// A structure of JSON as one of Protobuf. Numbers are floating there.
pub(crate) fn structure(map: serde_json::Map<String, Json>) -> Struct {
    Struct { fields: map.into_iter().map(|(key, json)| (key, value(json))).collect() }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::StringValue(value),
        Json::Array(list) => Kind::ListValue(ListValue { values: list.into_iter().map(value).collect() }),
        Json::Object(map) => Kind::StructValue(structure(map)),
    };
    Value { kind: Some(kind) }
}

/// A structure of Protobuf as one of JSON. What JSON has no number for is null.
pub(crate) fn json(structure: Struct) -> serde_json::Map<String, Json> {
    structure.fields.into_iter().map(|(key, value)| (key, json_value(value))).collect()
}

fn json_value(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(value)) => serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number),
        Some(Kind::StringValue(value)) => Json::String(value),
        Some(Kind::ListValue(list)) => Json::Array(list.values.into_iter().map(json_value).collect()),
        Some(Kind::StructValue(structure)) => Json::Object(json(structure)),
    }
}
