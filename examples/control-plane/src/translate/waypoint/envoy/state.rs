//! Filter state: what goes along with a stream within Envoy.

use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{DataSource, SubstitutionFormatString, data_source::Specifier};
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::FilterStateValue;
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::filter_state_value::{
    Key, SharedWithUpstream, Value,
};

/// Where a stream leads.
pub(super) const DESTINATION: &str = "envoy.filters.listener.original_dst.local_ip";

/// Where a stream comes from.
const SOURCE: &str = "envoy.filters.listener.original_dst.remote_ip";

/// Texts that are a part of what tells connections within Envoy apart.
const HASHABLE: &str = "envoy.hashable_string";

/// What the end of a tunnel knows.
pub(super) fn of_tunnel() -> Vec<FilterStateValue> {
    let texts = [
        ("io.istio.connect_authority", "%REQ(:AUTHORITY)%"),
        ("io.istio.peer_principal", "%DOWNSTREAM_PEER_URI_SAN%"),
        ("io.istio.local_principal", "%DOWNSTREAM_LOCAL_URI_SAN%"),
    ];
    let addresses = [(DESTINATION, "%REQ(:AUTHORITY)%"), (SOURCE, "%DOWNSTREAM_REMOTE_ADDRESS%")];
    let addresses = addresses.into_iter().map(|(key, format)| value(key, "", format));
    addresses.chain(texts.into_iter().map(|(key, format)| value(key, HASHABLE, format))).collect()
}

/// Where the stream leads, once more.
pub(super) fn destination_again() -> FilterStateValue {
    value(DESTINATION, "", &format!("%FILTER_STATE({DESTINATION}:PLAIN)%"))
}

fn value(key: &str, factory: &str, format: &str) -> FilterStateValue {
    let source = DataSource { specifier: Some(Specifier::InlineString(format.to_owned())), ..DataSource::default() };
    let format = SubstitutionFormatString {
        format: Some(Format::TextFormatSource(source)),
        ..SubstitutionFormatString::default()
    };
    FilterStateValue {
        factory_key: factory.to_owned(),
        shared_with_upstream: SharedWithUpstream::Once.into(),
        key: Some(Key::ObjectKey(key.to_owned())),
        value: Some(Value::FormatString(format)),
        ..FilterStateValue::default()
    }
}
