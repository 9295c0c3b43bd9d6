//! Keys for tokens of requests: what is read as a token and as a key set, whose signature counts, when keys are fetched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod fetching;
mod set;
#[path = "../signer/mod.rs"]
mod signer;
mod token;
mod web;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::Uri;
use mesh_core::authn::{Failure, KeySource, Keys, RemoteKeys, Token, Verification, Verifier};
use mesh_identity::clock::ManualClock;
use mesh_identity::jose::Algorithm;
use mesh_identity::keys::{Fetch, FetchError, Fetching, TokenVerifier};
use serde_json::{Value, json};
use signer::Signer;

const NOW: u64 = 1_800_000_000;

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW)))
}

fn verifier() -> TokenVerifier {
    TokenVerifier::fetching(clock(), Arc::new(Nobody))
}

fn claims() -> Value {
    json!({"iss": "i", "sub": "joe", "exp": NOW + 300})
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": "k1"})
}

fn signer(algorithm: Algorithm, kid: &'static str) -> Signer {
    let mut signer = Signer::new(algorithm);
    signer.kid = kid;
    signer
}

fn done(verification: Verification) -> Result<(), Failure> {
    match verification {
        Verification::Done(result) => result,
        Verification::Wait(_) => panic!("it waits"),
    }
}

/// What keys say about a text.
fn judge(keys: &str, text: &str) -> Result<(), Failure> {
    let verifier = verifier();
    let token = verifier.read(text)?;
    done(verifier.keys(&KeySource::Inline(keys.into())).verify(&token))
}

/// Has no documents.
#[derive(Debug)]
struct Nobody;

impl Fetch for Nobody {
    fn fetch<'a>(&'a self, url: &'a Uri, _: &'a RemoteKeys) -> Fetching<'a> {
        Box::pin(async move { Err(FetchError::Url(url.to_string())) })
    }
}

async fn verify(keys: &Arc<dyn Keys>, token: &Arc<Token>) -> Result<(), Failure> {
    match keys.verify(token) {
        Verification::Done(result) => result,
        Verification::Wait(fetching) => fetching.await,
    }
}
