//! | field of **SetCurrentClientCertDetails** | how it is taken |
//! | --- | --- |
//! | `subject`, `cert`, `chain`, `dns`, `uri` | honoured |
//! | `issuer`; a `format` other than text | NACK |

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    ForwardClientCertDetails, ServerHeaderTransformation, SetCurrentClientCertDetails,
};
use mesh_core::listener::{ClientCertDetails, ClientCertHeader, ServerHeader};

use crate::envoy::error::{Error, Report};
use crate::envoy::wire::boolean;

pub(super) fn client_cert(
    report: &mut Report,
    action: i32,
    details: Option<&SetCurrentClientCertDetails>,
) -> Result<ClientCertHeader, Error> {
    let details = match details {
        Some(wire) => report.within("set_current_client_cert_details", |report| cert_details(report, wire))?,
        None => ClientCertDetails::default(),
    };
    match ForwardClientCertDetails::try_from(action) {
        Ok(ForwardClientCertDetails::Sanitize) => Ok(ClientCertHeader::Sanitize),
        Ok(ForwardClientCertDetails::ForwardOnly) => Ok(ClientCertHeader::ForwardOnly),
        Ok(ForwardClientCertDetails::AppendForward) => Ok(ClientCertHeader::AppendForward(details)),
        Ok(ForwardClientCertDetails::SanitizeSet) => Ok(ClientCertHeader::SanitizeSet(details)),
        Ok(ForwardClientCertDetails::AlwaysForwardOnly) => Ok(ClientCertHeader::AlwaysForwardOnly),
        Err(_) => Err(report.invalid("forward_client_cert_details", format_args!("{action} is not known"))),
    }
}

fn cert_details(report: &mut Report, wire: &SetCurrentClientCertDetails) -> Result<ClientCertDetails, Error> {
    let SetCurrentClientCertDetails { subject, cert, chain, dns, uri, issuer, format } = wire;
    report.refused("issuer", issuer)?;
    report.refused("format", format)?;
    Ok(ClientCertDetails {
        subject: subject.is_some_and(|subject| subject.value),
        certificate: *cert,
        chain: *chain,
        dns_names: *dns,
        uri: *uri,
    })
}

pub(super) fn wire_client_cert(header: ClientCertHeader) -> (i32, Option<SetCurrentClientCertDetails>) {
    let (action, details) = match header {
        ClientCertHeader::Sanitize => (ForwardClientCertDetails::Sanitize, None),
        ClientCertHeader::ForwardOnly => (ForwardClientCertDetails::ForwardOnly, None),
        ClientCertHeader::AppendForward(details) => (ForwardClientCertDetails::AppendForward, Some(details)),
        ClientCertHeader::SanitizeSet(details) => (ForwardClientCertDetails::SanitizeSet, Some(details)),
        ClientCertHeader::AlwaysForwardOnly => (ForwardClientCertDetails::AlwaysForwardOnly, None),
    };
    let wire = |ClientCertDetails { subject, certificate, chain, dns_names, uri }| SetCurrentClientCertDetails {
        subject: Some(boolean(subject)),
        cert: certificate,
        chain,
        dns: dns_names,
        uri,
        ..SetCurrentClientCertDetails::default()
    };
    (action.into(), details.map(wire))
}

pub(super) fn server_header(report: &mut Report, action: i32, name: &str) -> Result<ServerHeader, Error> {
    match ServerHeaderTransformation::try_from(action) {
        Ok(ServerHeaderTransformation::Overwrite) => Ok(ServerHeader::Overwrite(name.into())),
        Ok(ServerHeaderTransformation::AppendIfAbsent) => Ok(ServerHeader::AppendIfAbsent(name.into())),
        Ok(ServerHeaderTransformation::PassThrough) => {
            report.ignored("server_name", &name);
            Ok(ServerHeader::PassThrough)
        }
        Err(_) => Err(report.invalid("server_header_transformation", format_args!("{action} is not known"))),
    }
}

pub(super) fn wire_server_header(header: &ServerHeader) -> (i32, String) {
    let (action, name) = match header {
        ServerHeader::Overwrite(name) => (ServerHeaderTransformation::Overwrite, name.to_string()),
        ServerHeader::AppendIfAbsent(name) => (ServerHeaderTransformation::AppendIfAbsent, name.to_string()),
        ServerHeader::PassThrough => (ServerHeaderTransformation::PassThrough, String::new()),
    };
    (action.into(), name)
}
