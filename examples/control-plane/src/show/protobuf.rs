//! Messages of Envoy as Protobuf JSON, in the form of Envoy's own `/config_dump`: fields by their names in the protos, what is
//! in an `Any` decoded, secrets redacted.

use std::collections::HashSet;
use std::sync::LazyLock;

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions, Value};
use serde_json::json;

/// Descriptors of Envoy's types; made, and held against the protos, by `tests/codegen`.
const DESCRIPTORS: &[u8] = include_bytes!("envoy.binpb");

/// The fields that Envoy itself does not show (option `udpa.annotations.sensitive`), by their full names.
const SENSITIVE: &str = include_str!("envoy.sensitive");

/// What stands in the place of a secret, as in Envoy.
const REDACTED: &str = "[redacted]";

/// A message of one text.
const TEXT: &str = "type.googleapis.com/google.protobuf.StringValue";

/// How the text begins that stands in an `Any` for what is not known.
const UNKNOWN: &str = "\0unknown ";

/// Read when somebody looks at a resource of Envoy for the first time.
static TYPES: LazyLock<Result<Types, String>> = LazyLock::new(Types::read);

/// What is known of Envoy's types.
struct Types {
    pool: DescriptorPool,
    /// The fields that hold secrets.
    sensitive: HashSet<&'static str>,
}

/// A resource as JSON with its type, or why it cannot be shown.
pub(super) fn content(type_url: &str, body: &[u8]) -> serde_json::Value {
    let shown = TYPES.as_ref().map_err(Clone::clone).and_then(|types| types.show(type_url, body));
    shown.unwrap_or_else(|error| json!({"@type": type_url, "error": error, "bytes": body.len()}))
}

impl Types {
    fn read() -> Result<Self, String> {
        let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string())?;
        Ok(Self { pool, sensitive: SENSITIVE.lines().collect() })
    }

    fn show(&self, type_url: &str, body: &[u8]) -> Result<serde_json::Value, String> {
        let mut message = self.decode(type_url, body)?;
        self.redact(&mut message, false)?;
        let options = SerializeOptions::new().skip_default_fields(true).use_proto_field_name(true);
        let shown = message.serialize_with_options(serde_json::value::Serializer, &options);
        let mut shown = shown.map_err(|error| error.to_string())?;
        name_unknown(&mut shown);
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("@type".to_owned(), json!(type_url));
        }
        Ok(shown)
    }

    fn decode(&self, type_url: &str, body: &[u8]) -> Result<DynamicMessage, String> {
        let name = type_url.rsplit('/').next().unwrap_or_default();
        let kind = self.of_url(type_url).ok_or_else(|| format!("`{name}` is not known"))?;
        DynamicMessage::decode(kind, body).map_err(|error| format!("`{name}`: {error}"))
    }

    fn of_url(&self, type_url: &str) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(type_url.rsplit('/').next().unwrap_or_default())
    }

    /// Takes the secrets out of a message; all that there is in it, where the whole is one.
    fn redact(&self, message: &mut DynamicMessage, is_secret: bool) -> Result<(), String> {
        if message.descriptor().full_name() == "google.protobuf.Any" {
            return self.redact_any(message, is_secret);
        }
        for (field, value) in message.fields_mut() {
            self.redact_value(value, is_secret || self.sensitive.contains(field.full_name()))?;
        }
        Ok(())
    }

    fn redact_any(&self, any: &mut DynamicMessage, is_secret: bool) -> Result<(), String> {
        let url = any.get_field_by_name("type_url").and_then(|url| url.as_str().map(ToOwned::to_owned));
        let url = url.unwrap_or_default();
        let body = any.get_field_by_name("value").and_then(|body| body.as_bytes().cloned()).unwrap_or_default();
        if url.is_empty() && body.is_empty() {
            return Ok(());
        }
        if self.of_url(&url).is_none() {
            // Nobody knows what in it is secret.
            let named = format!("{UNKNOWN}{} {url}", body.len());
            any.set_field_by_name("type_url", Value::String(TEXT.to_owned()));
            any.set_field_by_name("value", Value::Bytes(named.encode_to_vec().into()));
            return Ok(());
        }
        let mut message = self.decode(&url, &body)?;
        self.redact(&mut message, is_secret)?;
        any.set_field_by_name("value", Value::Bytes(message.encode_to_vec().into()));
        Ok(())
    }

    fn redact_value(&self, value: &mut Value, is_secret: bool) -> Result<(), String> {
        match value {
            Value::Message(message) => self.redact(message, is_secret)?,
            Value::List(values) => values.iter_mut().try_for_each(|value| self.redact_value(value, is_secret))?,
            Value::Map(values) => values.values_mut().try_for_each(|value| self.redact_value(value, is_secret))?,
            Value::String(text) if is_secret => REDACTED.clone_into(text),
            Value::Bytes(bytes) if is_secret => *bytes = REDACTED.as_bytes().into(),
            Value::Bool(value) if is_secret => *value = false,
            Value::I32(value) | Value::EnumNumber(value) if is_secret => *value = 0,
            Value::I64(value) if is_secret => *value = 0,
            Value::U32(value) if is_secret => *value = 0,
            Value::U64(value) if is_secret => *value = 0,
            Value::F32(value) if is_secret => *value = 0.0,
            Value::F64(value) if is_secret => *value = 0.0,
            _ => {}
        }
        Ok(())
    }
}

/// Says of what is not known its type and its length.
fn name_unknown(shown: &mut serde_json::Value) {
    match shown {
        serde_json::Value::Object(fields) => {
            let text = fields.get("value").and_then(serde_json::Value::as_str);
            match text.and_then(|text| text.strip_prefix(UNKNOWN)?.split_once(' ')) {
                Some((bytes, url)) => *shown = json!({"@type": url, "bytes": bytes.parse::<usize>().ok()}),
                None => fields.values_mut().for_each(name_unknown),
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(name_unknown),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::cluster::v3::Cluster;
    use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
    use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
    use envoy_types::pb::envoy::config::core::v3::{DataSource, TransportSocket};
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
        CommonTlsContext, GenericSecret, Secret, TlsCertificate, UpstreamTlsContext,
    };
    use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};
    use mesh_xds::envoy::{CLUSTER_TYPE, SECRET_TYPE};
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    fn certificate() -> TlsCertificate {
        let source = |text: &str| {
            Some(DataSource { specifier: Some(Specifier::InlineString(text.into())), ..DataSource::default() })
        };
        TlsCertificate {
            certificate_chain: source("the chain"),
            private_key: source("the key"),
            password: Some(DataSource {
                specifier: Some(Specifier::InlineBytes(b"the password".into())),
                ..DataSource::default()
            }),
            ..TlsCertificate::default()
        }
    }

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any { type_url: type_url.to_owned(), value }
    }

    #[test]
    fn what_is_in_an_any_is_decoded_and_secrets_in_it_are_not_shown() {
        const CONTEXT: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
        let context = UpstreamTlsContext {
            common_tls_context: Some(CommonTlsContext {
                tls_certificates: vec![certificate()],
                ..CommonTlsContext::default()
            }),
            sni: "shop.test".into(),
            ..UpstreamTlsContext::default()
        };
        let cluster = Cluster {
            name: "outbound|80||shop.test".into(),
            connect_timeout: Some(Duration { seconds: 1, nanos: 500_000_000 }),
            per_connection_buffer_limit_bytes: Some(UInt32Value { value: 1024 }),
            transport_socket: Some(TransportSocket {
                name: "tls".into(),
                config_type: Some(ConfigType::TypedConfig(any(CONTEXT, context.encode_to_vec()))),
            }),
            ..Cluster::default()
        };
        let shown = content(CLUSTER_TYPE, &cluster.encode_to_vec());
        let expected = json!({
            "@type": CLUSTER_TYPE,
            "name": "outbound|80||shop.test",
            "connect_timeout": "1.500s",
            "per_connection_buffer_limit_bytes": 1024,
            "transport_socket": {"name": "tls", "typed_config": {
                "@type": CONTEXT,
                "sni": "shop.test",
                "common_tls_context": {"tls_certificates": [{
                    "certificate_chain": {"inline_string": "the chain"},
                    "private_key": {"inline_string": "[redacted]"},
                    // `[redacted]` in base 64.
                    "password": {"inline_bytes": "W3JlZGFjdGVkXQ=="},
                }]},
            }},
        });
        assert_eq!(shown, expected, "{shown:#}");
    }

    #[test]
    fn of_a_secret_the_public_part_is_shown() {
        let secret = |kind| Secret { name: "default".into(), r#type: Some(kind) }.encode_to_vec();
        let shown = content(SECRET_TYPE, &secret(Type::TlsCertificate(certificate())));
        assert_eq!(
            (&shown["name"], &shown["tls_certificate"]["certificate_chain"]["inline_string"]),
            (&json!("default"), &json!("the chain"))
        );
        let generic = GenericSecret { secret: certificate().private_key, ..GenericSecret::default() };
        for text in [shown.to_string(), content(SECRET_TYPE, &secret(Type::GenericSecret(generic))).to_string()] {
            assert!(text.contains(REDACTED) && !text.contains("the key") && !text.contains("the password"), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_or_no_message_is_not_shown() {
        let unknown = Cluster {
            transport_socket: Some(TransportSocket {
                name: "x".into(),
                config_type: Some(ConfigType::TypedConfig(any("type.googleapis.com/x.Y", b"secret".to_vec()))),
            }),
            ..Cluster::default()
        };
        let shown = content(CLUSTER_TYPE, &unknown.encode_to_vec());
        let config = &shown["transport_socket"]["typed_config"];
        assert_eq!(*config, json!({"@type": "type.googleapis.com/x.Y", "bytes": 6}), "{shown}");
        for (url, body, told) in [
            (CLUSTER_TYPE, vec![0xff; 3], "`envoy.config.cluster.v3.Cluster`"),
            ("type.googleapis.com/x.Z", Vec::new(), "`x.Z` is not known"),
        ] {
            let shown = content(url, &body);
            assert!(shown["error"].as_str().unwrap().contains(told), "{shown}");
            assert_eq!((&shown["@type"], &shown["bytes"]), (&json!(url), &json!(body.len())));
        }
    }
}
