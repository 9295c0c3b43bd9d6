use std::time::{Duration, SystemTime};

use super::signer::{BACKDATE, Signer, authority_key_id};
use super::state::Revoked;
use super::{Authority, Error};
use crate::der;

impl Authority {
    /// Revokes a certificate that this authority issued, by its serial number, which must be kept until it would have
    /// ended by itself. The list of [`Authority::revocation_list`] has it from now on.
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

    /// A revocation list (RFC 5280 section 5) of everything revoked, in DER: version 2, a number that grows, valid for a
    /// day or for as long as a partition must be survived.
    ///
    /// # Errors
    /// [`Error`] when the signing certificate may sign no lists, or when its number cannot be stored.
    pub fn revocation_list(&self) -> Result<Vec<u8>, Error> {
        self.change(|state| {
            state.list_number += 1;
            Ok(())
        })?;
        let state = self.state.load();
        let now = self.clock.now();
        let end = now + self.rules.list_life.max(Duration::from_secs(24 * 60 * 60));
        list(&state.signing.current, &state.revoked, state.list_number, now - BACKDATE, end)
    }
}

fn list(
    signer: &Signer,
    revoked: &[Revoked],
    number: u64,
    this_update: SystemTime,
    next_update: SystemTime,
) -> Result<Vec<u8>, Error> {
    const LIST_NUMBER: [u8; 3] = [0x55, 0x1d, 20];
    if !signer.signs_lists {
        return Err(Error::NoLists);
    }
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
    signer.sign(&to_be_signed)
}
