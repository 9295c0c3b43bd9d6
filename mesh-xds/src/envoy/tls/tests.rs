use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ConfigSource, DataSource as WireData, TransportSocket, TypedExtensionConfig, WatchedDirectory,
    config_source::ConfigSourceSpecifier,
};
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use mesh_core::tls::{
    CertificateSource, ClientCertificate, DataSource, DownstreamTls, Secret, SecretKind, TrustedCa, UpstreamTls,
    ValidationSource,
};
use proptest::prelude::*;
use prost::Message;

use super::{
    decode_secret, downstream_socket, encode_secret, upstream_socket, wire_downstream_socket, wire_upstream_socket,
};
use crate::envoy::error::{Decoded, Error};
use crate::envoy::testing::{changed, changes, damaged, field, read, whole};
use crate::envoy::wire::{any as pack, boolean, uint32};

/// Values of the core, of any shape that can be written.
pub(in crate::envoy) mod values {
    use mesh_core::name::Hostname;
    use mesh_core::tls::{
        Certificate, CertificateSource, CipherSuite, ClientCertificate, DataSource, DownstreamTls, Group, Parameters,
        ProviderInstance, Revocation, SanKind, SanMatcher, Secret, SecretKind, Sensitive, TrustedCa, UpstreamTls,
        Validation, ValidationSource, Version,
    };
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use crate::envoy::testing::{pattern, text};

    fn data() -> impl Strategy<Value = DataSource> {
        let inline = vec(any::<u8>(), 1..5).prop_map(|bytes| DataSource::Inline(bytes.into()));
        prop_oneof![text().prop_map(DataSource::File), inline]
    }

    fn certificate() -> impl Strategy<Value = Certificate> {
        (data(), data(), option::of(data())).prop_map(|(chain, key, ocsp_staple)| Certificate {
            chain,
            key: Sensitive(key),
            ocsp_staple,
        })
    }

    fn provider() -> impl Strategy<Value = ProviderInstance> {
        (text(), "[a-z]{0,2}").prop_map(|(instance, name)| ProviderInstance { instance, certificate: name.into() })
    }

    fn certificates() -> impl Strategy<Value = Vec<CertificateSource>> {
        prop_oneof![
            vec(text().prop_map(CertificateSource::Secret), 1..3),
            vec(certificate().prop_map(CertificateSource::Inline), 1..3),
            provider().prop_map(|instance| vec![CertificateSource::Provider(instance)]),
        ]
    }

    fn trusted_ca() -> impl Strategy<Value = TrustedCa> {
        prop_oneof![
            data().prop_map(TrustedCa::Bundle),
            provider().prop_map(TrustedCa::Provider),
            Just(TrustedCa::System)
        ]
    }

    fn validation(trusted_ca: impl Strategy<Value = Option<TrustedCa>>) -> impl Strategy<Value = Validation> {
        let kind = select(vec![SanKind::Email, SanKind::Dns, SanKind::Uri, SanKind::Ip]);
        let name = (kind, pattern()).prop_map(|(kind, pattern)| SanMatcher { kind, pattern });
        let pins = || vec(any::<[u8; 32]>(), 0..3);
        let revocation = select(vec![Revocation::Chain, Revocation::Leaf]);
        let depth = option::of(0..3u32);
        (trusted_ca, vec(name, 0..3), pins(), pins(), option::of(data()), revocation, depth).prop_map(
            |(trusted_ca, names, certificate_pins, key_pins, crl, revocation, max_depth)| Validation {
                trusted_ca,
                names,
                certificate_pins,
                key_pins,
                crl,
                revocation,
                max_depth,
            },
        )
    }

    fn validation_source() -> impl Strategy<Value = ValidationSource> {
        let whole = validation(trusted_ca().prop_map(Some)).prop_map(ValidationSource::Inline);
        let combined = (validation(option::of(trusted_ca())), text())
            .prop_map(|(default, secret)| ValidationSource::Combined { default, secret });
        prop_oneof![whole, text().prop_map(ValidationSource::Secret), combined]
    }

    fn parameters() -> impl Strategy<Value = Parameters> {
        let versions = select(vec![
            (Version::Tls12, Version::Tls12),
            (Version::Tls12, Version::Tls13),
            (Version::Tls13, Version::Tls13),
        ]);
        let suites = subsequence(CipherSuite::ALL.to_vec(), 0..=CipherSuite::ALL.len());
        let groups = subsequence(Group::ALL.to_vec(), 0..=Group::ALL.len());
        (versions, suites, groups).prop_map(|((minimum, maximum), cipher_suites, groups)| Parameters {
            minimum,
            maximum,
            cipher_suites,
            groups,
        })
    }

    pub(in crate::envoy) fn upstream() -> impl Strategy<Value = UpstreamTls> {
        let sni = option::of("[a-z]{1,3}(\\.[a-z]{1,3}){0,2}".prop_map(|name| Hostname::parse(&name).unwrap()));
        let certificate = option::of(certificates()).prop_map(|list| list.and_then(|list| list.into_iter().next()));
        let flags = any::<(bool, bool)>();
        (parameters(), certificate, validation_source(), vec(text(), 0..3), sni, flags, 0..4u32).prop_map(
            |(parameters, certificate, validation, alpn, sni, (sni_from_endpoint, validate_sni), max_sessions)| {
                UpstreamTls {
                    parameters,
                    certificate,
                    validation,
                    alpn,
                    sni,
                    sni_from_endpoint,
                    validate_sni,
                    max_sessions,
                }
            },
        )
    }

    pub(in crate::envoy) fn downstream() -> impl Strategy<Value = DownstreamTls> {
        let client = prop_oneof![
            Just(ClientCertificate::NotAsked),
            validation_source().prop_map(ClientCertificate::Optional),
            validation_source().prop_map(ClientCertificate::Required),
        ];
        (parameters(), certificates(), client, vec(text(), 0..3), any::<(bool, bool, bool)>()).prop_map(
            |(parameters, certificates, client, alpn, (require_sni, stateful_resumption, stateless_resumption))| {
                DownstreamTls {
                    parameters,
                    certificates,
                    client,
                    alpn,
                    require_sni,
                    stateful_resumption,
                    stateless_resumption,
                }
            },
        )
    }

    pub(super) fn secret() -> impl Strategy<Value = Secret> {
        let sensitive = || data().prop_map(Sensitive);
        let generic = (option::of(sensitive()), btree_map(text(), sensitive(), 0..3))
            .prop_map(|(secret, secrets)| SecretKind::Generic { secret, secrets });
        let validation =
            validation(option::of(trusted_ca())).prop_map(|validation| SecretKind::Validation(Box::new(validation)));
        let kind = prop_oneof![certificate().prop_map(SecretKind::Certificate), validation, generic];
        (text(), kind).prop_map(|(name, kind)| Secret { name, kind })
    }
}

fn upstream_of(context: &wire::UpstreamTlsContext) -> Result<Decoded<Option<UpstreamTls>>, Error> {
    read(|report| upstream_socket(report, &socket_of(pack(context))))
}

fn downstream_of(context: &wire::DownstreamTlsContext) -> Result<Decoded<Option<DownstreamTls>>, Error> {
    read(|report| downstream_socket(report, &socket_of(pack(context))))
}

fn socket_of(config: crate::pb::Any) -> TransportSocket {
    TransportSocket { name: String::new(), config_type: Some(ConfigType::TypedConfig(config)) }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        secret in values::secret(),
        upstream in values::upstream(),
        downstream in values::downstream(),
    ) {
        prop_assert_eq!(decode_secret(&encode_secret(&secret)), Ok(whole(secret)));
        let socket = wire_upstream_socket(&upstream);
        prop_assert_eq!(read(|report| upstream_socket(report, &socket)), Ok(whole(Some(upstream))));
        let socket = wire_downstream_socket(&downstream);
        prop_assert_eq!(read(|report| downstream_socket(report, &socket)), Ok(whole(Some(downstream))));
    }

    #[test]
    fn no_bytes_make_it_panic(
        secret in values::secret(),
        changes in changes(),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = decode_secret(&damaged(encode_secret(&secret), &changes));
        let _ = decode_secret(&noise);
    }
}

fn inline(text: &str) -> Option<WireData> {
    Some(WireData { watched_directory: None, specifier: Some(Specifier::InlineString(text.into())) })
}

fn good_validation() -> wire::CertificateValidationContext {
    wire::CertificateValidationContext { trusted_ca: inline("roots"), ..Default::default() }
}

fn good_certificate() -> wire::TlsCertificate {
    wire::TlsCertificate { certificate_chain: inline("chain"), private_key: inline("key"), ..Default::default() }
}

fn good_common() -> wire::CommonTlsContext {
    wire::CommonTlsContext {
        tls_certificates: vec![good_certificate()],
        validation_context_type: Some(ValidationContextType::ValidationContext(good_validation())),
        ..Default::default()
    }
}

fn good_downstream() -> wire::DownstreamTlsContext {
    wire::DownstreamTlsContext { common_tls_context: Some(good_common()), ..Default::default() }
}

fn good_upstream() -> wire::UpstreamTlsContext {
    wire::UpstreamTlsContext { common_tls_context: Some(good_common()), ..Default::default() }
}

fn validation_of(context: wire::CertificateValidationContext) -> Result<Decoded<Secret>, Error> {
    let kind = Some(Type::ValidationContext(context));
    decode_secret(&wire::Secret { name: "s".into(), r#type: kind }.encode_to_vec())
}

#[test]
fn what_would_change_the_verification_is_refused_by_name() {
    type Change = fn(&mut wire::CertificateValidationContext);
    let typed = |san_type| wire::SubjectAltNameMatcher { san_type, ..Default::default() };
    assert!(validation_of(good_validation()).is_ok());
    let changes: [(&str, Change); 12] = [
        ("allow_expired_certificate", |v| v.allow_expired_certificate = true),
        ("trust_chain_verification", |v| v.trust_chain_verification = 1),
        ("custom_validator_config", |v| v.custom_validator_config = Some(TypedExtensionConfig::default())),
        ("require_signed_certificate_timestamp", |v| v.require_signed_certificate_timestamp = Some(boolean(true))),
        ("ca_certificate_provider_instance", |v| v.ca_certificate_provider_instance = Some(Default::default())),
        ("verify_certificate_hash", |v| v.verify_certificate_hash = vec!["00".repeat(31)]),
        ("verify_certificate_hash", |v| v.verify_certificate_hash = vec!["0".repeat(63) + "g"]),
        ("verify_certificate_hash", |v| v.verify_certificate_hash = vec!["0:".repeat(32)]),
        ("verify_certificate_spki", |v| v.verify_certificate_spki = vec!["AAAA".into()]),
        ("trusted_ca.environment_variable", |v| {
            v.trusted_ca.as_mut().unwrap().specifier = Some(Specifier::EnvironmentVariable("HOME".into()));
        }),
        ("trusted_ca.specifier", |v| v.trusted_ca.as_mut().unwrap().specifier = None),
        ("match_subject_alt_names[0].match_pattern", |v| v.match_subject_alt_names = vec![StringMatcher::default()]),
    ];
    for (name, change) in changes {
        let named = field(validation_of(changed(good_validation(), change)));
        assert_eq!(named, format!("validation_context.{name}"));
    }
    for kind in [0, 5, 6, -1] {
        let context = wire::CertificateValidationContext {
            match_typed_subject_alt_names: vec![typed(kind)],
            ..good_validation()
        };
        assert_eq!(field(validation_of(context)), "validation_context.match_typed_subject_alt_names[0].san_type");
    }
}

#[test]
fn nobody_is_trusted_by_default() {
    let without = |change: fn(&mut wire::CommonTlsContext)| changed(good_common(), change);
    type Change = fn(&mut wire::CommonTlsContext);
    let changes: [(&str, Change); 4] = [
        ("validation_context", |c| c.validation_context_type = None),
        ("validation_context.trusted_ca", |c| {
            c.validation_context_type = Some(ValidationContextType::ValidationContext(Default::default()));
        }),
        ("combined_validation_context.default_validation_context", |c| {
            let combined = CombinedCertificateValidationContext::default();
            c.validation_context_type = Some(ValidationContextType::CombinedValidationContext(combined));
        }),
        ("combined_validation_context.default_validation_context.trusted_ca", |c| {
            let default_validation_context = Some(Default::default());
            let combined = CombinedCertificateValidationContext { default_validation_context, ..Default::default() };
            c.validation_context_type = Some(ValidationContextType::CombinedValidationContext(combined));
        }),
    ];
    for (name, change) in changes {
        let common_tls_context = Some(without(change));
        let context = wire::UpstreamTlsContext { common_tls_context, ..Default::default() };
        assert_eq!(field(upstream_of(&context)), format!("typed_config.common_tls_context.{name}"));
    }
    assert_eq!(field(upstream_of(&Default::default())), "typed_config.common_tls_context");

    let mut server = good_downstream();
    server.common_tls_context = Some(without(|c| c.validation_context_type = None));
    let tls = downstream_of(&server).unwrap().value.unwrap();
    assert_eq!(tls.client, ClientCertificate::NotAsked);
    server.require_client_certificate = Some(boolean(true));
    assert_eq!(field(downstream_of(&server)), "typed_config.common_tls_context.validation_context");
}

#[test]
fn what_is_not_supported_of_a_context_is_refused_by_name() {
    let secret = |source| wire::SdsSecretConfig { name: "s".into(), sds_config: source };
    let elsewhere = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(ApiConfigSource::default())),
        ..Default::default()
    };
    let mut of_other_server = good_common();
    of_other_server.tls_certificates.clear();
    of_other_server.tls_certificate_sds_secret_configs = vec![secret(Some(elsewhere))];
    let mut mixed = good_common();
    mixed.tls_certificate_provider_instance =
        Some(wire::CertificateProviderPluginInstance { instance_name: "p".into(), certificate_name: String::new() });
    let parameters = |change: fn(&mut wire::TlsParameters)| wire::CommonTlsContext {
        tls_params: Some(changed(Default::default(), change)),
        ..good_common()
    };
    for (name, common) in [
        ("tls_certificate_sds_secret_configs[0].sds_config.api_config_source", of_other_server),
        ("tls_certificates", mixed),
        ("custom_handshaker", changed(good_common(), |c| c.custom_handshaker = Some(Default::default()))),
        ("alpn_protocols", changed(good_common(), |c| c.alpn_protocols = vec![String::new()])),
        ("tls_certificates[0].private_key", changed(good_common(), |c| c.tls_certificates[0].private_key = None)),
        ("tls_certificates[0].password", changed(good_common(), |c| c.tls_certificates[0].password = inline("x"))),
        ("tls_params.tls_minimum_protocol_version", parameters(|p| p.tls_minimum_protocol_version = 2)),
        ("tls_params.tls_minimum_protocol_version", parameters(|p| p.tls_minimum_protocol_version = 9)),
        (
            "tls_params.tls_maximum_protocol_version",
            parameters(|p| {
                (p.tls_minimum_protocol_version, p.tls_maximum_protocol_version) = (4, 3);
            }),
        ),
        ("tls_params.cipher_suites", parameters(|p| p.cipher_suites = vec!["AES128-SHA".into()])),
        ("tls_params.ecdh_curves", parameters(|p| p.ecdh_curves = vec!["P-521".into()])),
        ("tls_params.signature_algorithms", parameters(|p| p.signature_algorithms = vec!["x".into()])),
    ] {
        let context = wire::DownstreamTlsContext { common_tls_context: Some(common), ..Default::default() };
        assert_eq!(field(downstream_of(&context)), format!("typed_config.common_tls_context.{name}"));
    }
    let two =
        wire::CommonTlsContext { tls_certificates: vec![good_certificate(), good_certificate()], ..good_common() };
    let client = wire::UpstreamTlsContext { common_tls_context: Some(two.clone()), ..Default::default() };
    assert_eq!(field(upstream_of(&client)), "typed_config.common_tls_context.tls_certificates");
    let server = wire::DownstreamTlsContext { common_tls_context: Some(two), ..Default::default() };
    assert_eq!(downstream_of(&server).unwrap().value.unwrap().certificates.len(), 2);

    let none = wire::CommonTlsContext { tls_certificates: Vec::new(), ..good_common() };
    let server = wire::DownstreamTlsContext { common_tls_context: Some(none), ..Default::default() };
    assert_eq!(field(downstream_of(&server)), "typed_config.common_tls_context.tls_certificates");
    for sni in ["*.example.com", "10.0.0.1", "a b"] {
        let client = wire::UpstreamTlsContext { sni: sni.into(), ..good_upstream() };
        assert_eq!(field(upstream_of(&client)), "typed_config.sni");
    }
    let server = wire::DownstreamTlsContext { ocsp_staple_policy: 1, ..good_downstream() };
    assert_eq!(field(downstream_of(&server)), "typed_config.ocsp_staple_policy");
    let server = wire::DownstreamTlsContext { session_timeout: Some(Default::default()), ..good_downstream() };
    assert_eq!(field(downstream_of(&server)), "typed_config.session_timeout");
}

#[test]
fn a_socket_is_known_by_its_type() {
    let plain = socket_of(pack(&RawBuffer {}));
    assert_eq!(read(|report| upstream_socket(report, &plain)), Ok(whole(None)));
    assert_eq!(read(|report| downstream_socket(report, &plain)), Ok(whole(None)));
    assert_eq!(field(read(|report| upstream_socket(report, &TransportSocket::default()))), "typed_config");
    let server = socket_of(pack(&good_downstream()));
    assert!(matches!(read(|report| upstream_socket(report, &server)), Err(Error::UnsupportedType { .. })));
    let client = socket_of(pack(&good_upstream()));
    assert!(matches!(read(|report| downstream_socket(report, &client)), Err(Error::UnsupportedType { .. })));
}

#[test]
fn versions_are_said_in_any_case() {
    let socket = wire_upstream_socket(&UpstreamTls::new(ValidationSource::Secret("roots".into())));
    let Some(ConfigType::TypedConfig(config)) = socket.config_type else { panic!("{socket:?}") };
    let context = wire::UpstreamTlsContext::decode(config.value.as_slice()).unwrap();
    let parameters = context.common_tls_context.unwrap().tls_params.unwrap();
    // Without a word, a client of Envoy's would stop at TLS 1.2.
    assert_eq!(parameters.tls_minimum_protocol_version(), TlsProtocol::TlSv12);
    assert_eq!(parameters.tls_maximum_protocol_version(), TlsProtocol::TlSv13);
}

#[test]
fn forms_that_other_servers_write() {
    // gRPC's: providers, and a combined context without a secret.
    let default = wire::CertificateValidationContext {
        ca_certificate_provider_instance: Some(wire::CertificateProviderPluginInstance {
            instance_name: "roots".into(),
            certificate_name: "ROOTCA".into(),
        }),
        system_root_certs: Some(Default::default()),
        match_subject_alt_names: vec![StringMatcher {
            ignore_case: false,
            match_pattern: Some(MatchPattern::Exact("spiffe://d/w".into())),
        }],
        verify_certificate_hash: vec!["AB".repeat(32), vec!["ab"; 32].join(":")],
        ..Default::default()
    };
    let combined =
        CombinedCertificateValidationContext { default_validation_context: Some(default), ..Default::default() };
    let common = wire::CommonTlsContext {
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(combined)),
        key_log: Some(Default::default()),
        ..Default::default()
    };
    let context = wire::UpstreamTlsContext {
        common_tls_context: Some(common),
        allow_renegotiation: true,
        max_session_keys: Some(uint32(0)),
        ..Default::default()
    };
    let Decoded { value, warnings } = upstream_of(&context).unwrap();
    let tls = value.unwrap();
    let ValidationSource::Inline(validation) = tls.validation else { panic!("not inline") };
    assert!(matches!(&validation.trusted_ca, Some(TrustedCa::Provider(instance)) if instance.instance == "roots"));
    assert_eq!(validation.names.len(), 4, "a name without a kind is one of any kind");
    assert_eq!(validation.certificate_pins, [[0xab; 32]; 2]);
    assert_eq!((tls.certificate, tls.max_sessions), (None, 0));
    let fields: Vec<_> = warnings.iter().map(|warning| warning.field.as_str()).collect();
    assert_eq!(fields, ["typed_config.allow_renegotiation", "typed_config.common_tls_context.key_log"]);
}

#[test]
fn a_secret_is_one_with_a_name_and_a_kind() {
    let secret = |name: &str, kind| wire::Secret { name: name.into(), r#type: kind }.encode_to_vec();
    let mut certificate = good_certificate();
    certificate.watched_directory = Some(WatchedDirectory { path: "/x".into(), watch_modify: false });
    let decoded = decode_secret(&secret("s", Some(Type::TlsCertificate(certificate.clone())))).unwrap();
    let SecretKind::Certificate(value) = decoded.value.kind else { panic!("no certificate") };
    assert_eq!(value.chain, DataSource::Inline(b"chain".as_slice().into()));
    assert_eq!(decoded.warnings[0].field, "tls_certificate.watched_directory");

    assert_eq!(field(decode_secret(&secret("", Some(Type::TlsCertificate(certificate))))), "name");
    assert_eq!(field(decode_secret(&secret("s", None))), "type");
    let tickets = Some(Type::SessionTicketKeys(Default::default()));
    assert_eq!(field(decode_secret(&secret("s", tickets))), "session_ticket_keys");
    assert!(matches!(decode_secret(&[0xff]), Err(Error::Malformed(_))));
    let source = CertificateSource::Secret("s".into());
    assert_eq!(source.secret().map(|name| name.as_str()), Some("s"));
}
