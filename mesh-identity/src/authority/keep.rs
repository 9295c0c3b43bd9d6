//! An authority over time: its next key made ready, put to use and the old one forgotten.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::report::chain;
use rustls_pki_types::CertificateDer;

use super::rotate::{self, Life, Step};
use super::signer::{BACKDATE, Signer};
use super::state::{State, TokenKey};
use super::{Authority, Error, Origin, load};

/// Longest sleep between two looks at the wall clock and at the files.
const MAX_SLEEP: Duration = Duration::from_secs(60);

impl Authority {
    /// Does what is due now: prepares and publishes next keys, puts them to use, forgets old ones, takes changed files.
    ///
    /// # Errors
    /// [`Error`]; what could not be done is tried again by the next call, and the keys in use stay in use.
    pub fn tick(&self) -> Result<(), Error> {
        let now = self.clock.now();
        match &self.origin {
            Origin::Own => self.rotate_signing(now)?,
            Origin::Files { directory, names } => {
                let read = load::read(directory, *names, &self.trust_domain)?;
                self.take_files(read, now)?;
            }
        }
        self.rotate_tokens(now)?;
        if State::clone(&self.state.load()).prune(now) {
            self.change(|state| {
                state.prune(now);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Calls [`Authority::tick`] for ever, at least once a minute.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn keep(self: Arc<Self>) {
        loop {
            if let Err(error) = self.tick() {
                tracing::error!(trust_domain = %self.trust_domain, error = chain(&error), "the authority's keys are not renewed");
            }
            tokio::time::sleep(MAX_SLEEP).await;
        }
    }

    /// Makes the next signing key and publishes it, whatever the time. Does nothing when there is one.
    ///
    /// # Errors
    /// [`Error`] when it cannot be made or stored, and for a plugged-in authority, whose keys others make.
    pub fn prepare(&self) -> Result<(), Error> {
        if !matches!(self.origin, Origin::Own) {
            return Err(Error::PluggedIn);
        }
        let (now, life) = (self.clock.now(), self.rules.authority_life);
        self.change(|state| {
            if state.signing.next.is_none() {
                state.signing.next = Some(Arc::new(Signer::root(&self.trust_domain, now, life)?));
            }
            Ok(())
        })
    }

    /// Signs with the next key from now on, whatever the time. Verifiers that have not learned of it refuse what it signs;
    /// after a compromise that is right.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] when there is no next key.
    pub fn activate(&self) -> Result<(), Error> {
        if self.state.load().signing.next.is_none() {
            return Err(Error::NotPrepared);
        }
        tracing::info!(trust_domain = %self.trust_domain, "the next signing key takes over");
        self.change(|state| {
            state.activate(self.clock.now(), self.rules.max_life);
            Ok(())
        })
    }

    /// Takes an authority that signs no more out of the bundle at once. Whatever it signed is refused wherever the new
    /// bundle is known.
    ///
    /// # Errors
    /// [`Error::NotRetired`] for the key in use, the next one and unknown ones.
    pub fn revoke_authority(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        tracing::warn!(trust_domain = %self.trust_domain, "an authority is revoked");
        self.change(|state| if state.revoke_authority(certificate) { Ok(()) } else { Err(Error::NotRetired) })
    }

    fn rotate_signing(&self, now: SystemTime) -> Result<(), Error> {
        let state = self.state.snapshot();
        // A certificate begins before it is made; its lead counts from its making.
        let next = state.signing.next.as_ref().map(|next| Life { begin: next.life.begin + BACKDATE, ..next.life });
        match rotate::step(now, state.signing.current.life, next) {
            Step::Wait(_) => Ok(()),
            Step::Prepare => {
                tracing::info!(trust_domain = %self.trust_domain, "the next signing key is published");
                self.prepare()
            }
            Step::Activate => self.activate(),
        }
    }

    fn rotate_tokens(&self, now: SystemTime) -> Result<(), Error> {
        let state = self.state.snapshot();
        let next = state.tokens.next.as_ref().map(|next| next.life);
        match rotate::step(now, state.tokens.current.life, next) {
            Step::Wait(_) => Ok(()),
            Step::Prepare => self.change(|state| {
                state.tokens.next = Some(Arc::new(TokenKey::generate(now, self.rules.authority_life)?));
                Ok(())
            }),
            Step::Activate => self.change(|state| {
                state.activate_tokens();
                Ok(())
            }),
        }
    }

    /// Takes a plugged-in authority that was replaced on disk. A new intermediate of a root that is published signs at
    /// once; a new root is published at once and signs after the lead that verifiers need.
    fn take_files(&self, read: Signer, now: SystemTime) -> Result<(), Error> {
        let state = self.state.snapshot();
        let known = state.signing.next.as_ref().is_some_and(|next| next.is_same(&read));
        if state.signing.current.is_same(&read) {
            // What was to come was taken back.
            return if state.signing.next.is_none() {
                Ok(())
            } else {
                self.change(|state| {
                    (state.signing.next, state.announced) = (None, None);
                    Ok(())
                })
            };
        }
        let lead = rotate::lead(self.rules.authority_life);
        let announced = state.announcement(&read, now);
        let due = announced.map_or(now, |since| since + lead).min(state.signing.current.life.end);
        if now < due && known && announced == state.announced {
            return Ok(());
        }
        if now < due {
            tracing::info!(trust_domain = %self.trust_domain, lead_seconds = lead.as_secs(),
                "a new root was plugged in; it is published now and signs after its lead");
        }
        let read = Arc::new(read);
        self.change(|state| {
            (state.signing.next, state.announced) = (Some(read), announced);
            if now >= due {
                state.activate(now, self.rules.max_life);
            }
            Ok(())
        })
    }
}
