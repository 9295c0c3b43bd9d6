use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::downstream_tls_context::{
    OcspStaplePolicy, SessionTicketKeysType,
};
use envoy_types::pb::google::protobuf::Any;
use mesh_core::name::Hostname;
use mesh_core::tls::{ClientCertificate, DownstreamTls, UpstreamTls};
use prost::{Message, Name};

use super::common::{Common, common, wire_common};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{any, boolean, holds, uint32, unpack};

/// Name by which Envoy knows TLS.
const TLS: &str = "envoy.transport_sockets.tls";

/// Name by which Envoy knows its absence.
const PLAINTEXT: &str = "envoy.transport_sockets.raw_buffer";

/// Most bytes of a server name.
const MAX_SNI_BYTES: usize = 255;

/// How connections to endpoints are secured; `None` for plaintext.
pub(in crate::envoy) fn upstream_socket(
    report: &mut Report,
    socket: &TransportSocket,
) -> Result<Option<UpstreamTls>, Error> {
    tls_socket(report, socket, upstream)
}

/// How connections that are accepted are secured; `None` for plaintext.
pub(in crate::envoy) fn downstream_socket(
    report: &mut Report,
    socket: &TransportSocket,
) -> Result<Option<DownstreamTls>, Error> {
    tls_socket(report, socket, downstream)
}

pub(in crate::envoy) fn wire_upstream_socket(tls: &UpstreamTls) -> TransportSocket {
    socket(any(&wire_upstream(tls)))
}

pub(in crate::envoy) fn wire_downstream_socket(tls: &DownstreamTls) -> TransportSocket {
    socket(any(&wire_downstream(tls)))
}

/// A socket without TLS, where one must be named.
pub(in crate::envoy) fn wire_plaintext_socket() -> TransportSocket {
    TransportSocket { name: PLAINTEXT.to_owned(), config_type: Some(ConfigType::TypedConfig(any(&RawBuffer {}))) }
}

fn socket(any: Any) -> TransportSocket {
    TransportSocket { name: TLS.to_owned(), config_type: Some(ConfigType::TypedConfig(any)) }
}

fn tls_socket<M: Message + Name + Default, T>(
    report: &mut Report,
    socket: &TransportSocket,
    decode: fn(&mut Report, &M) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    // The type says what it is; the name is for people.
    let TransportSocket { name: _, config_type } = socket;
    let ConfigType::TypedConfig(any) = report.required("typed_config", config_type.as_ref())?;
    if holds::<RawBuffer>(any) {
        let RawBuffer {} = unpack(report, "typed_config", any)?;
        return Ok(None);
    }
    if !holds::<M>(any) {
        return Err(Error::UnsupportedType { field: report.at("typed_config"), type_url: any.type_url.clone() });
    }
    let context: M = unpack(report, "typed_config", any)?;
    report.within("typed_config", |report| decode(report, &context)).map(Some)
}

fn upstream(report: &mut Report, context: &wire::UpstreamTlsContext) -> Result<UpstreamTls, Error> {
    let wire::UpstreamTlsContext {
        common_tls_context,
        sni,
        auto_host_sni,
        auto_sni_san_validation,
        allow_renegotiation,
        max_session_keys,
        enforce_rsa_key_usage,
    } = context;
    report.ignored("allow_renegotiation", allow_renegotiation);
    report.ignored("enforce_rsa_key_usage", enforce_rsa_key_usage);
    let context = report.required("common_tls_context", common_tls_context.as_ref())?;
    report
        .within("common_tls_context", |report| {
            let Common { parameters, certificates, validation, alpn } = common(report, context)?;
            if certificates.len() > 1 {
                return Err(report.invalid("tls_certificates", "more than one certificate"));
            }
            let validation = report.required("validation_context", validation)?;
            let certificate = certificates.into_iter().next();
            Ok(UpstreamTls { certificate, parameters, alpn, ..UpstreamTls::new(validation) })
        })
        .and_then(|tls| {
            Ok(UpstreamTls {
                sni: server_name(report, sni)?,
                sni_from_endpoint: *auto_host_sni,
                validate_sni: *auto_sni_san_validation,
                max_sessions: max_session_keys.map_or(tls.max_sessions, |keys| keys.value),
                ..tls
            })
        })
}

fn server_name(report: &Report, sni: &str) -> Result<Option<Hostname>, Error> {
    if sni.is_empty() {
        return Ok(None);
    }
    let name = Hostname::parse(sni).map_err(|error| report.invalid("sni", error))?;
    match name.is_wildcard() || sni.len() > MAX_SNI_BYTES {
        true => Err(report.invalid("sni", format_args!("`{sni}` is no server name"))),
        false => Ok(Some(name)),
    }
}

fn wire_upstream(tls: &UpstreamTls) -> wire::UpstreamTlsContext {
    let UpstreamTls { parameters, certificate, validation, alpn, sni, sni_from_endpoint, validate_sni, max_sessions } =
        tls;
    wire::UpstreamTlsContext {
        common_tls_context: Some(wire_common(parameters, certificate.as_slice(), Some(validation), alpn)),
        sni: sni.as_ref().map(Hostname::to_string).unwrap_or_default(),
        auto_host_sni: *sni_from_endpoint,
        auto_sni_san_validation: *validate_sni,
        max_session_keys: Some(uint32(*max_sessions)),
        ..wire::UpstreamTlsContext::default()
    }
}

fn downstream(report: &mut Report, context: &wire::DownstreamTlsContext) -> Result<DownstreamTls, Error> {
    let wire::DownstreamTlsContext {
        common_tls_context,
        require_client_certificate,
        require_sni,
        disable_stateful_session_resumption,
        session_timeout,
        ocsp_staple_policy,
        full_scan_certs_on_sni_mismatch,
        prefer_client_ciphers,
        session_ticket_keys_type,
    } = context;
    report.refused("session_timeout", session_timeout)?;
    report.refused("ocsp_staple_policy", &(*ocsp_staple_policy != i32::from(OcspStaplePolicy::LenientStapling)))?;
    report.ignored("full_scan_certs_on_sni_mismatch", full_scan_certs_on_sni_mismatch);
    report.ignored("prefer_client_ciphers", prefer_client_ciphers);
    let stateless_resumption = match session_ticket_keys_type {
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(disabled)) => !disabled,
        Some(SessionTicketKeysType::SessionTicketKeys(_)) => {
            report.ignored("session_ticket_keys", &true);
            true
        }
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(_)) => {
            report.ignored("session_ticket_keys_sds_secret_config", &true);
            true
        }
        None => true,
    };
    let required = require_client_certificate.is_some_and(|required| required.value);
    let context = report.required("common_tls_context", common_tls_context.as_ref())?;
    report.within("common_tls_context", |report| {
        let Common { parameters, certificates, validation, alpn } = common(report, context)?;
        if certificates.is_empty() {
            return Err(Error::Missing { field: report.at("tls_certificates") });
        }
        let client = match validation {
            Some(validation) if required => ClientCertificate::Required(validation),
            Some(validation) => ClientCertificate::Optional(validation),
            None if required => return Err(Error::Missing { field: report.at("validation_context") }),
            None => ClientCertificate::NotAsked,
        };
        Ok(DownstreamTls {
            parameters,
            certificates,
            client,
            alpn,
            require_sni: require_sni.is_some_and(|required| required.value),
            stateful_resumption: !disable_stateful_session_resumption,
            stateless_resumption,
        })
    })
}

fn wire_downstream(tls: &DownstreamTls) -> wire::DownstreamTlsContext {
    let DownstreamTls {
        parameters,
        certificates,
        client,
        alpn,
        require_sni,
        stateful_resumption,
        stateless_resumption,
    } = tls;
    let (required, validation) = match client {
        ClientCertificate::NotAsked => (false, None),
        ClientCertificate::Optional(validation) => (false, Some(validation)),
        ClientCertificate::Required(validation) => (true, Some(validation)),
    };
    wire::DownstreamTlsContext {
        common_tls_context: Some(wire_common(parameters, certificates, validation, alpn)),
        require_client_certificate: Some(boolean(required)),
        require_sni: Some(boolean(*require_sni)),
        disable_stateful_session_resumption: !stateful_resumption,
        session_ticket_keys_type: (!stateless_resumption)
            .then_some(SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        ..wire::DownstreamTlsContext::default()
    }
}
