use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateRevocationListDer;

use super::signer::{BACKDATE, Signer, authority_key_id};
use super::state::Revoked;
use super::{Authority, Error};
use crate::der;

impl Authority {
    /// Revokes a certificate that this authority issued, by its serial number, which must be kept until it would have
    /// ended by itself. The lists of [`Authority::revocation_lists`] have it from now on.
    ///
    /// # Errors
    /// [`Error::File`] when the state cannot be stored: then nothing changed.
    pub fn revoke(&self, serial: &[u8], not_after: SystemTime) -> Result<(), Error> {
        let at = self.clock.now();
        self.change(|state| {
            if !state.revoked.iter().any(|known| known.serial == serial) {
                state.revoked.push(Revoked { serial: serial.to_vec(), at, not_after });
            }
            Ok(())
        })
    }

    /// Revocation lists (RFC 5280 section 5) in DER: version 2, with a number that grows, valid for a day or for as long as a
    /// partition must be survived.
    ///
    /// A list counts only for certificates of its own signer, so there is one of each: of the signer in use, of the next one,
    /// and of former ones while anything that they signed may live. Whoever verifies needs them all. Every list has
    /// everything revoked: of a serial number alone nobody can tell whose it is, and as they are random none is anybody
    /// else's.
    ///
    /// # Errors
    /// [`Error::NoLists`] when no signing certificate may sign lists, and others when the number cannot be stored.
    pub fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        self.change(|state| {
            state.list_number += 1;
            Ok(())
        })?;
        let state = self.state.load();
        let now = self.clock.now();
        let end = now + self.rules.list_life.max(Duration::from_secs(24 * 60 * 60));
        let signers = state.list_signers();
        let able: Vec<_> = signers.iter().filter(|signer| signer.signs_lists).collect();
        if able.is_empty() {
            return Err(Error::NoLists);
        }
        if able.len() < signers.len() {
            tracing::warn!(trust_domain = %self.trust_domain, "a signing certificate lacks cRLSign: what it signs cannot be revoked");
        }
        able.into_iter().map(|signer| list(signer, &state.revoked, state.list_number, now - BACKDATE, end)).collect()
    }
}

fn list(
    signer: &Signer,
    revoked: &[Revoked],
    number: u64,
    this_update: SystemTime,
    next_update: SystemTime,
) -> Result<CertificateRevocationListDer<'static>, Error> {
    const LIST_NUMBER: [u8; 3] = [0x55, 0x1d, 20];
    let time = |time| der::time(time).ok_or(Error::Crypto(rcgen::Error::Time));
    let mut entries = Vec::new();
    for one in revoked {
        entries.extend(der::sequence(&[&der::positive_integer(&one.serial), &time(one.at)?]));
    }
    // An empty list of entries must be absent (RFC 5280 section 5.1.2.6).
    let entries = if entries.is_empty() { Vec::new() } else { der::value(der::SEQUENCE, &entries) };
    let number = der::extension(&LIST_NUMBER, false, &der::positive_integer(&number.to_be_bytes()));
    let extensions = der::value(0xa0, &der::sequence(&[&authority_key_id(&signer.key_id), &number]));
    let to_be_signed = der::sequence(&[
        &[der::INTEGER, 1, 1],
        signer.algorithm()?,
        &signer.subject,
        &time(this_update)?,
        &time(next_update)?,
        &entries,
        &extensions,
    ]);
    signer.sign(&to_be_signed).map(CertificateRevocationListDer::from)
}
