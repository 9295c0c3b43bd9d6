//! Where SVIDs come from, and how they are kept fresh.
//!
//! A [`SvidSource`] gives one SVID; [`Identities`] keeps one live SVID per identity, fetched ahead or on demand, renewed
//! at half of its life, cached on disk. The schedule is pure ([`rotate`]); the tasks around it are not.

mod cache;
mod csr;
mod fallback;
mod files;
mod local;
mod manager;
pub mod rotate;
mod token;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mesh_core::name::SpiffeId;

pub use cache::Cache;
pub use csr::{CsrSource, TokenSource};
pub use fallback::Fallback;
pub use files::FileSource;
pub use local::LocalSource;
pub use manager::{Identities, IdentitiesBuilder, Summary};
pub use token::{FetchToken, JwtCache, JwtSource};

use crate::bundle::{self, Bundle};
pub use crate::svid::KeyKind;
use crate::svid::X509Svid;
pub use crate::tls::SvidState;
use crate::{file, svid, verify};

/// What a source gives: an SVID, and the authorities of its trust domain as the issuer names them now.
#[derive(Debug)]
pub struct Issued {
    /// The SVID.
    pub svid: X509Svid,
    /// The bundle of its trust domain.
    pub bundle: Bundle,
}

/// The future of a fetch. Boxed: a renewal happens every few minutes and costs a network round trip.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Issued, Error>> + Send + 'a>>;

/// An origin of SVIDs.
pub trait SvidSource: fmt::Debug + Send + Sync + 'static {
    /// Fetches a new SVID, with a new key, for an identity.
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a>;
}

/// An SVID could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The issuer refused or could not be reached.
    #[error("no certificate for `{id}` from the issuer: {}", status.message())]
    Issuer {
        /// The identity asked for.
        id: String,
        /// What the issuer answered.
        status: Box<tonic::Status>,
    },
    /// The issuer did not answer in time.
    #[error("no certificate for `{id}`: no answer within {seconds} s")]
    Timeout {
        /// The identity asked for.
        id: String,
        /// The deadline.
        seconds: u64,
    },
    /// The token that proves who we are could not be read.
    #[error("the token for the issuer cannot be read")]
    Token(#[source] file::Error),
    /// The token holds characters that no header can carry.
    #[error("the token for the issuer holds characters that a header cannot carry")]
    TokenCharacters,
    /// A key or certificate request could not be made.
    #[error("cannot make a certificate request for `{id}`")]
    Request {
        /// The identity.
        id: String,
        /// Why.
        source: rcgen::Error,
    },
    /// The answer does not hold a leaf and the roots.
    #[error("the answer holds {0} certificate texts, a leaf and the roots are needed")]
    ShortAnswer(usize),
    /// The issued chain is no SVID.
    #[error("what was issued for `{id}` is no SVID")]
    Svid {
        /// The identity asked for.
        id: String,
        /// Why.
        source: svid::Error,
    },
    /// The SVID is for somebody else.
    #[error("asked for `{asked}`, got `{got}`")]
    OtherIdentity {
        /// The identity asked for.
        asked: String,
        /// The identity issued.
        got: String,
    },
    /// The roots are no bundle.
    #[error("the roots that came with the certificate are no bundle")]
    Bundle(#[source] bundle::Error),
    /// The chain does not verify against the roots that came with it.
    #[error("the issued chain does not verify against the roots that came with it")]
    Verify(#[source] verify::Error),
    /// A file of the cache could not be read or written.
    #[error("the identity cache failed")]
    File(#[from] file::Error),
    /// The authority in this process refused.
    #[error("the authority refused")]
    Authority(#[source] crate::authority::Error),
    /// The token does not verify.
    #[error("the issued token does not verify")]
    Jwt(#[source] verify::JwtError),
    /// No entry says who may have the identity.
    #[error("there is no entry for `{0}`")]
    NoEntry(String),
    /// The Workload API gives this process no such identity.
    #[error("the Workload API gives no `{0}`")]
    NotGiven(String),
    /// A source of another kind failed.
    #[error("no identity from this source")]
    Other(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The Workload API said that this process has no identity any more.
    #[error("the Workload API withdrew the identity")]
    Withdrawn,
    /// The identities are shut down.
    #[error("the identities are shut down")]
    Closed,
}

#[cfg(test)]
mod tests;
