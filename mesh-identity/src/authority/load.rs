use std::path::Path;
use std::sync::Arc;

use mesh_core::live::Publisher;
use mesh_core::name::TrustDomain;
use parking_lot::Mutex;
use rcgen::KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::signer::Signer;
use super::state::{State, TokenKey};
use super::store::{SealingKey, Store};
use super::{Authority, Error, Names, Origin, Rules};
use crate::bundle::Bundle;
use crate::clock::Clock;
use crate::file;
use crate::svid::{KeyKind, certificate_request};

/// File names of a plugged-in authority: signing certificate, key, chain, roots. First Istio's, then cert-manager's.
pub(super) const LAYOUTS: [[&str; 4]; 2] =
    [["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"], ["tls.crt", "tls.key", "tls.crt", "ca.crt"]];

impl Authority {
    /// The authority whose files are in a directory; an empty directory gets a new self-signed root.
    ///
    /// Understood are the names of Istio's `cacerts` (`ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`) and
    /// of cert-manager (`tls.crt`, `tls.key`, `ca.crt`). An authority of our own stands in `authority.json`, with
    /// `root-cert.pem` beside it for whoever needs the roots.
    ///
    /// Files that are plugged in may be replaced at any time, and in place of a root of our own too. A new intermediate of a
    /// root that is published signs at once; a new root is published first and signs after the lead that verifiers need.
    /// Until then, and while anything that it signed may be revoked, the old key stands in `authority.json`; a key whose files
    /// are in place does not. Where that cannot be written, or the files were replaced while no process ran, the new root
    /// signs at once.
    ///
    /// # Errors
    /// [`Error`] when some but not all files are there, or when they cannot be an authority: the key is not the
    /// certificate's, the certificate may not sign or is not valid now, the chain does not lead to the root.
    pub fn open(
        directory: &Path,
        trust_domain: TrustDomain,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        Self::open_sealed(directory, trust_domain, rules, clock, None)
    }

    /// As [`Authority::open`], with keys of our own making sealed at rest. A file that is not sealed yet is sealed.
    ///
    /// # Errors
    /// As [`Authority::open`], and [`Error::Sealed`] when the file was sealed by another key.
    pub fn open_sealed(
        directory: &Path,
        trust_domain: TrustDomain,
        rules: Rules,
        clock: Arc<dyn Clock>,
        sealing: Option<SealingKey>,
    ) -> Result<Self, Error> {
        let now = clock.now();
        let plugged = plugged(directory)?;
        let store = Store::new(directory, trust_domain.clone(), sealing, plugged.is_some());
        let (origin, files) = match plugged {
            Some(names) => {
                rules.check_times()?;
                let signer = read(directory, names, &trust_domain)?;
                (Origin::Files { directory: directory.to_owned(), names }, Some(signer))
            }
            None => {
                rules.check()?;
                file::private_directory(directory)?;
                (Origin::Own, None)
            }
        };
        let (mut state, mut is_kept) = match (store.read()?, files) {
            (Some((stored, is_kept)), files) => {
                (stored.into_state(&trust_domain, files, now, rules.max_life)?, is_kept)
            }
            (None, files) => {
                let root = || Signer::root(&trust_domain, now, rules.authority_life);
                let signer = files.map_or_else(root, Ok)?;
                (State::new(signer, TokenKey::generate(now, rules.authority_life)?), false)
            }
        };
        // It may have slept over the end of the key in use; the next one was published long ago.
        if now >= state.signing.current.life.end && state.signing.next.is_some() {
            state.activate(now, rules.max_life);
            is_kept = false;
        }
        let store = match (&origin, is_kept) {
            (Origin::Own, true) => Some(store),
            (Origin::Own, false) => store.save(&state).map(|()| Some(store))?,
            // A secret that is mounted read-only is the usual case: then keys of tokens live as long as the process.
            (Origin::Files { .. }, _) => store
                .save(&state)
                .inspect_err(|error| {
                    tracing::info!(
                        error = mesh_core::report::chain(error),
                        "the authority's directory cannot be written: token keys and revocations end with this process"
                    );
                })
                .is_ok()
                .then_some(store),
        };
        Self::assemble(trust_domain, state, origin, rules, clock, store)
    }

    /// A new self-signed authority in memory: for tests and for programs that trust only themselves.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the cryptography library fails, [`Error::Rules`] for rules that contradict each other.
    pub fn ephemeral(trust_domain: TrustDomain, rules: Rules, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        rules.check()?;
        let now = clock.now();
        let state = State::new(
            Signer::root(&trust_domain, now, rules.authority_life)?,
            TokenKey::generate(now, rules.authority_life)?,
        );
        Self::assemble(trust_domain, state, Origin::Own, rules, clock, None)
    }

    fn assemble(
        trust_domain: TrustDomain,
        mut state: State,
        origin: Origin,
        rules: Rules,
        clock: Arc<dyn Clock>,
        store: Option<Store>,
    ) -> Result<Self, Error> {
        rules.check_lives()?;
        let now = clock.now();
        if matches!(origin, Origin::Own) {
            let known = state.bundle(&trust_domain, rules.refresh_hint);
            if state.catch_up(&trust_domain, now, &rules)? {
                let changed = !state.bundle(&trust_domain, rules.refresh_hint).is_same_trust(&known);
                state.sequence += u64::from(changed);
                if let Some(store) = &store {
                    store.save(&state)?;
                }
            }
        }
        let life = state.signing.current.life;
        if now < life.begin || now >= life.end {
            return Err(Error::NotValidNow);
        }
        let bundle = state.bundle(&trust_domain, rules.refresh_hint);
        let (publisher, live) = Publisher::new(state);
        let (bundles, live_bundle) = Publisher::new(bundle);
        let authority = Self {
            trust_domain,
            rules,
            clock,
            origin,
            store,
            writer: Mutex::new(()),
            publisher,
            state: live,
            bundles,
            live_bundle,
        };
        authority.prove()?;
        Ok(authority)
    }

    /// Issues an SVID to itself, so that files that cannot work are refused at start and not at the first request.
    fn prove(&self) -> Result<(), Error> {
        let id = mesh_core::name::SpiffeId::from_segments(self.trust_domain.clone(), &["self-test"])
            .map_err(|_| Error::Identity(self.trust_domain.to_string()))?;
        let (_, request) = certificate_request(&id, KeyKind::P256).map_err(Error::Crypto)?;
        self.issue_to_key(&request, &id, Some(self.rules.min_life), &Names::default()).map(drop)
    }
}

/// The layout of the plugged-in authority in a directory, if there is one.
fn plugged(directory: &Path) -> Result<Option<[&'static str; 4]>, Error> {
    for names in LAYOUTS {
        if file::exists(&directory.join(names[0]))? || file::exists(&directory.join(names[1]))? {
            return Ok(Some(names));
        }
    }
    Ok(None)
}

/// Reads a plugged-in authority.
pub(super) fn read(directory: &Path, names: [&'static str; 4], trust_domain: &TrustDomain) -> Result<Signer, Error> {
    let read = |name: &'static str| match file::read(&directory.join(name)) {
        Ok(text) => Ok(text),
        Err(error) if error.is_not_found() => Err(Error::FileMissing(name)),
        Err(error) => Err(error.into()),
    };
    let certificates = |name: &'static str, text: &[u8]| {
        let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        parsed.ok().filter(|list| !list.is_empty()).ok_or(Error::FileContent { file: name, what: "certificate in PEM" })
    };
    let [certificate_file, key_file, chain_file, roots_file] = names;
    let no_key = || Error::FileContent { file: key_file, what: "private key in PEM" };
    let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|_| no_key())?;
    let key = KeyPair::try_from(&key).map_err(|_| no_key())?;
    let signing = certificates(certificate_file, &read(certificate_file)?)?.swap_remove(0);
    let roots = Bundle::from_pem(trust_domain.clone(), &read(roots_file)?).map_err(Error::Bundle)?;

    let mut chain = vec![signing];
    for certificate in certificates(chain_file, &read(chain_file)?)? {
        let root = roots.authorities().iter().any(|authority| *authority.certificate() == certificate);
        if !root && !chain.contains(&certificate) {
            chain.push(certificate);
        }
    }
    Signer::new(key, chain, roots)
}
