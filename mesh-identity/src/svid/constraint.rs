//! The rules of the X509-SVID document, one function each.

use mesh_core::name::{SpiffeId, parse_spiffe_id};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::Error;

/// Checks a leaf certificate (sections 2 to 5) and gives its SPIFFE ID.
///
/// # Errors
/// The first rule that it breaks.
pub fn leaf_id(leaf: &X509Certificate<'_>) -> Result<SpiffeId, Error> {
    known_critical_extensions(leaf)?;
    let id = spiffe_id(leaf)?;
    if id.path().is_empty() {
        return Err(Error::NoPath(id.to_string()));
    }
    name_is_critical(leaf)?;
    not_authority(leaf)?;
    leaf_key_usage(leaf)?;
    extended_key_usage(leaf)?;
    Ok(id)
}

/// Checks a signing certificate (sections 4.1 and 4.3).
pub(crate) fn signing(certificate: &X509Certificate<'_>) -> Result<(), Error> {
    if !certificate.is_ca() {
        return Err(Error::NotAuthority);
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if usage.value.key_cert_sign() => Ok(()),
        // Absent on a root of older make: RFC 5280 then puts no limit on the key.
        Ok(None) => Ok(()),
        _ => Err(Error::NotAuthority),
    }
}

/// Whether a certificate's key may sign revocation lists (RFC 5280 section 4.2.1.3).
pub(crate) fn signs_lists(certificate: &X509Certificate<'_>) -> bool {
    certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()))
}

/// Without a subject, the alternative name is the only one, and must be understood (RFC 5280 section 4.2.1.6).
fn name_is_critical(leaf: &X509Certificate<'_>) -> Result<(), Error> {
    let names = leaf.subject_alternative_name().map_err(|_| Error::RepeatedExtension)?;
    let empty = leaf.subject().iter().next().is_none();
    if empty && names.is_some_and(|names| !names.critical) { Err(Error::NameNotCritical) } else { Ok(()) }
}

/// The single URI subject alternative name (sections 2 and 5.2).
pub(crate) fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, Error> {
    let names = certificate.subject_alternative_name().map_err(|_| Error::RepeatedExtension)?;
    let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next().ok_or(Error::NoUri)?;
    match uris.count() {
        0 => parse_spiffe_id(uri).map_err(Error::SpiffeId),
        more => Err(Error::ManyUris(more + 1)),
    }
}

fn not_authority(leaf: &X509Certificate<'_>) -> Result<(), Error> {
    if leaf.is_ca() { Err(Error::LeafIsAuthority) } else { Ok(()) }
}

fn leaf_key_usage(leaf: &X509Certificate<'_>) -> Result<(), Error> {
    let usage = leaf.key_usage().map_err(|_| Error::RepeatedExtension)?.ok_or(Error::KeyUsageAbsent)?;
    if !usage.critical {
        return Err(Error::KeyUsageAbsent);
    }
    let usage = usage.value;
    if !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
        return Err(Error::LeafKeyUsage);
    }
    Ok(())
}

fn extended_key_usage(leaf: &X509Certificate<'_>) -> Result<(), Error> {
    match leaf.extended_key_usage().map_err(|_| Error::RepeatedExtension)? {
        Some(usage) if !(usage.value.any || usage.value.server_auth && usage.value.client_auth) => {
            Err(Error::ExtendedKeyUsage)
        }
        _ => Ok(()),
    }
}

/// RFC 5280 section 4.2: a critical extension that is not understood refuses the certificate.
fn known_critical_extensions(certificate: &X509Certificate<'_>) -> Result<(), Error> {
    let unknown = certificate.extensions().iter().filter(|extension| extension.critical).find(|extension| {
        !matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::NameConstraints(_)
        )
    });
    match unknown {
        Some(extension) => Err(Error::UnknownCriticalExtension(extension.oid.to_id_string())),
        None => Ok(()),
    }
}
