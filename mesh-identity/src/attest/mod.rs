//! Node attestation: how a machine proves what it is before it has an identity, and the evidence it gives.
//!
//! The messages are those of SPIRE's `AttestAgent`, so that a SPIRE agent can join us and we can join a SPIRE server. The
//! server's side of one kind of evidence is an [`Attestor`], the node's side an [`Evidence`]; both can be written by users.
//!
//! ```
//! use mesh_identity::attest::{Asked, Attest, AttestError, Attested, Attestor, Challenges};
//!
//! /// Believes whoever knows a word. Not for use.
//! #[derive(Debug)]
//! struct Password(String);
//!
//! impl Attestor for Password {
//!     fn kind(&self) -> &'static str {
//!         "password"
//!     }
//!
//!     fn attest<'a>(&'a self, asked: Asked<'a>, _challenges: &'a mut dyn Challenges) -> Attest<'a> {
//!         Box::pin(async move {
//!             if asked.payload == self.0.as_bytes() {
//!                 Ok(Attested::new("password/node", ["known"]))
//!             } else {
//!                 Err(AttestError::Evidence("wrong word".to_owned()))
//!             }
//!         })
//!     }
//! }
//! ```

mod aws;
mod aws_pkcs7;
mod error;
mod join_token;
mod k8s_psat;
mod machine_ca;
#[cfg(feature = "tpm")]
mod tpm;
mod x509pop;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use mesh_core::name::TrustDomain;

pub use aws::{AwsEvidence, AwsIdentityDocument, AwsRegions};
pub use error::AttestError;
pub use join_token::{JoinTokenEvidence, JoinTokens, Minted};
pub use k8s_psat::{ClusterKeys, K8sPsat, K8sPsatEvidence};
#[cfg(feature = "tpm")]
pub use tpm::TpmDevId;
pub use x509pop::{X509Pop, X509PopEvidence};

/// Largest evidence in bytes.
pub const MAX_EVIDENCE_BYTES: usize = 64 * 1024;

/// What a node brings.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its evidence. It may hold a secret.
    pub payload: &'a [u8],
    /// The trust domain that it wants to join.
    pub trust_domain: &'a TrustDomain,
    /// The time by which evidence is judged.
    pub now: SystemTime,
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("bytes", &self.payload.len()).field("now", &self.now).finish()
    }
}

/// What evidence proved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attested {
    /// The node's identity below `/spire/agent/`.
    pub path: String,
    /// Values of selectors; their type is the attestor's.
    pub selectors: Vec<String>,
    /// Whether the same node may attest again by the same evidence. If not, the first time counts and no other.
    pub reattestable: bool,
    /// A further identity that was promised to the node when its evidence was made.
    pub alias: Option<String>,
}

impl Attested {
    /// A node that may attest again.
    #[must_use]
    pub fn new(path: impl Into<String>, selectors: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let selectors = selectors.into_iter().map(Into::into).collect();
        Self { path: path.into(), selectors, reattestable: true, alias: None }
    }

    /// It may attest once only.
    #[must_use]
    pub fn once(self) -> Self {
        Self { reattestable: false, ..self }
    }
}

/// The future of a verification.
pub type Attest<'a> = Pin<Box<dyn Future<Output = Result<Attested, AttestError>> + Send + 'a>>;

/// The future of an answer.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, AttestError>> + Send + 'a>>;

/// Verifies one kind of evidence.
pub trait Attestor: fmt::Debug + Send + Sync + 'static {
    /// The kind's name, the type of its selectors.
    fn kind(&self) -> &'static str;

    /// Verifies evidence, with as many challenges as it takes.
    fn attest<'a>(&'a self, asked: Asked<'a>, challenges: &'a mut dyn Challenges) -> Attest<'a>;
}

/// Asks the node that attests.
pub trait Challenges: Send {
    /// Sends a challenge and waits for the answer.
    fn ask(&mut self, challenge: Vec<u8>) -> Answer<'_>;
}

/// The node's side of one kind of evidence.
pub trait Evidence: fmt::Debug + Send + Sync + 'static {
    /// The kind's name.
    fn kind(&self) -> &'static str;

    /// The evidence.
    fn payload(&self) -> Answer<'_>;

    /// Answers a challenge. Kinds without challenges refuse.
    ///
    /// # Errors
    /// [`AttestError`].
    fn answer(&self, _challenge: &[u8]) -> Result<Vec<u8>, AttestError> {
        Err(AttestError::Challenge("none was expected".to_owned()))
    }
}

/// 32 random bytes.
fn nonce() -> Result<[u8; 32], AttestError> {
    let mut nonce = [0; 32];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| AttestError::Unavailable("no random numbers".to_owned()))?;
    Ok(nonce)
}

/// JSON with one reading only.
fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_value(crate::jose::json::parse(bytes).ok()?).ok()
}
