//! Signed data (RFC 5652, PKCS#7) with one signer, as AWS signs instance identity documents: read, and verified by a key
//! that is known beforehand. Certificates inside are not looked at.

use aws_lc_rs::digest::{SHA256, digest};

use crate::der;
use crate::jose::{Algorithm, PublicKey};

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SHA256_DIGEST: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];

const SET: u8 = 0x31;
const EXPLICIT_0: u8 = 0xa0;
const EXPLICIT_1: u8 = 0xa1;
const CONSTRUCTED: u8 = 0x20;

/// Deepest nesting of indefinite lengths.
const MAX_DEPTH: usize = 16;

/// What was signed, verified: by `key`, RSA with SHA-256, as the only signer.
///
/// # Errors
/// What is wrong.
pub(super) fn verify(signed: &[u8], key: &PublicKey) -> Result<Vec<u8>, &'static str> {
    let Parsed { content, attributes, signature } = parse(signed)?;
    let message = match attributes {
        None => content.clone(),
        Some(attributes) => {
            let hash = digest(&SHA256, &content);
            if attribute(attributes, CONTENT_TYPE) != Some(&der::value(der::OBJECT_IDENTIFIER, DATA)[..]) {
                return Err("the signer signed another type of content");
            }
            if attribute(attributes, MESSAGE_DIGEST) != Some(&der::value(der::OCTET_STRING, hash.as_ref())[..]) {
                return Err("the signer signed another content");
            }
            // RFC 5652 section 5.4: signed as a SET, though it is sent under another tag.
            der::value(SET, attributes)
        }
    };
    if key.verify(Algorithm::RS256, &message, signature) {
        Ok(content)
    } else {
        Err("the signature is not by the region's key")
    }
}

struct Parsed<'a> {
    content: Vec<u8>,
    attributes: Option<&'a [u8]>,
    signature: &'a [u8],
}

fn parse(signed: &[u8]) -> Result<Parsed<'_>, &'static str> {
    const MALFORMED: &str = "not PKCS#7 signed data";
    let mut outer = Reader(signed);
    let mut info = Reader(outer.value(der::SEQUENCE).ok_or(MALFORMED)?);
    if !outer.0.is_empty() || info.value(der::OBJECT_IDENTIFIER) != Some(SIGNED_DATA) {
        return Err(MALFORMED);
    }
    let mut explicit = Reader(info.value(EXPLICIT_0).ok_or(MALFORMED)?);
    let mut data = Reader(explicit.value(der::SEQUENCE).ok_or(MALFORMED)?);
    data.value(der::INTEGER).ok_or(MALFORMED)?;
    data.value(SET).ok_or(MALFORMED)?;

    let mut encapsulated = Reader(data.value(der::SEQUENCE).ok_or(MALFORMED)?);
    if encapsulated.value(der::OBJECT_IDENTIFIER) != Some(DATA) {
        return Err(MALFORMED);
    }
    let mut content = Reader(encapsulated.value(EXPLICIT_0).ok_or("there is no content in it")?);
    let content = octets(&mut content, 0).ok_or(MALFORMED)?;

    data.value(EXPLICIT_0);
    data.value(EXPLICIT_1);
    let mut signers = Reader(data.value(SET).ok_or(MALFORMED)?);
    let mut signer = Reader(signers.value(der::SEQUENCE).ok_or("nobody signed it")?);
    if !signers.0.is_empty() {
        return Err("more than one signer");
    }
    signer.value(der::INTEGER).ok_or(MALFORMED)?;
    signer.value(der::SEQUENCE).ok_or(MALFORMED)?;
    let hash = Reader(signer.value(der::SEQUENCE).ok_or(MALFORMED)?).value(der::OBJECT_IDENTIFIER);
    if hash != Some(SHA256_DIGEST) {
        return Err("signed by another digest than SHA-256");
    }
    let attributes = signer.value(EXPLICIT_0);
    let method = Reader(signer.value(der::SEQUENCE).ok_or(MALFORMED)?).value(der::OBJECT_IDENTIFIER);
    if method != Some(RSA) && method != Some(RSA_SHA256) {
        return Err("signed by another algorithm than RSA");
    }
    let signature = signer.value(der::OCTET_STRING).ok_or(MALFORMED)?;
    Ok(Parsed { content, attributes, signature })
}

/// The single value of an attribute that stands once.
fn attribute<'a>(attributes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut all = Reader(attributes);
    let mut found = None;
    while !all.0.is_empty() {
        let mut attribute = Reader(all.value(der::SEQUENCE)?);
        if attribute.value(der::OBJECT_IDENTIFIER)? != wanted {
            continue;
        }
        if found.is_some() {
            return None;
        }
        found = Some(attribute.value(SET)?);
    }
    found
}

/// An octet string, whole or in parts (X.690 section 8.7).
fn octets(reader: &mut Reader<'_>, depth: usize) -> Option<Vec<u8>> {
    if let Some(whole) = reader.value(der::OCTET_STRING) {
        return Some(whole.to_vec());
    }
    if depth == MAX_DEPTH {
        return None;
    }
    let mut parts = Reader(reader.value(der::OCTET_STRING | CONSTRUCTED)?);
    let mut all = Vec::new();
    while !parts.0.is_empty() {
        all.extend(octets(&mut parts, depth + 1)?);
    }
    Some(all)
}

/// Reads BER values one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, if it has this tag; if not, nothing is taken.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content, rest) = take(self.0, 0)?;
        (found == tag).then(|| {
            self.0 = rest;
            content
        })
    }
}

/// As [`der::take`], and understands lengths that are indefinite (X.690 section 8.1.3.6), which AWS writes.
fn take(bytes: &[u8], depth: usize) -> Option<(u8, &[u8], &[u8])> {
    let [tag, 0x80, content @ ..] = bytes else { return der::take(bytes) };
    if tag & CONSTRUCTED == 0 || depth == MAX_DEPTH {
        return None;
    }
    let mut rest = content;
    while !rest.starts_with(&[0, 0]) {
        (_, _, rest) = take(rest, depth + 1)?;
    }
    Some((*tag, &content[..content.len() - rest.len()], &rest[2..]))
}
