//! The public protobuf messages that are used here, under one path: the one place where the crate that generates them
//! could be exchanged.

pub use envoy_types::pb::envoy::admin::v3::UpdateFailureState;
pub use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
pub use envoy_types::pb::envoy::service::discovery::v3 as discovery;
pub use envoy_types::pb::envoy::service::status::v3 as status;
pub use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
pub use envoy_types::pb::google::protobuf::value::Kind;
pub use envoy_types::pb::google::protobuf::{Any, Duration, Empty, ListValue, Struct, Timestamp, UInt32Value, Value};
pub use envoy_types::pb::google::rpc::Status;

/// A point in time; `None` before 1970.
pub(crate) fn timestamp(time: std::time::SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    Some(Timestamp { seconds, nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default() })
}
