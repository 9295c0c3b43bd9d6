use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use http::HeaderMap;

/// Why a call to a webhook counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It proves nothing.
    #[error("there is no header `X-Hub-Signature-256` and none `X-Gitlab-Token`")]
    NoProof,
    /// It is proved by another secret, or its body was changed.
    #[error("it was not made with the secret")]
    Wrong,
}

/// Judges one call to a webhook while its body comes in.
///
/// GitHub, Gitea, Forgejo and Bitbucket sign the body with the secret (HMAC-SHA256); GitLab sends the secret itself. What the
/// body says does not count: a call says that it is time to look, and nothing else.
pub struct Judge(Proof);

enum Proof {
    Signature { context: Box<hmac::Context>, signature: [u8; digest::SHA256_OUTPUT_LEN] },
    Token { is_right: bool },
}

impl Judge {
    /// Begins with the headers.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn new(headers: &HeaderMap, secret: &[u8]) -> Result<Self, Refused> {
        // Everybody knows an empty secret.
        if secret.is_empty() {
            return Err(Refused::Wrong);
        }
        if let Some(signature) = headers.get("x-hub-signature-256").or_else(|| headers.get("x-hub-signature")) {
            let text = signature.as_bytes().strip_prefix(b"sha256=").ok_or(Refused::Wrong)?;
            let signature = from_hex(text).ok_or(Refused::Wrong)?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            return Ok(Self(Proof::Signature { context: Box::new(hmac::Context::with_key(&key)), signature }));
        }
        let token = headers.get("x-gitlab-token").ok_or(Refused::NoProof)?;
        // Of their hashes, so that the time does not tell the length either.
        let hash = |text: &[u8]| digest::digest(&digest::SHA256, text);
        let (told, right) = (hash(token.as_bytes()), hash(secret));
        let is_right = constant_time::verify_slices_are_equal(told.as_ref(), right.as_ref()).is_ok();
        Ok(Self(Proof::Token { is_right }))
    }

    /// A piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        if let Proof::Signature { context, .. } = &mut self.0 {
            context.update(piece);
        }
    }

    /// The verdict, once the body has ended.
    ///
    /// # Errors
    /// [`Refused::Wrong`].
    pub fn finish(self) -> Result<(), Refused> {
        let is_right = match self.0 {
            Proof::Token { is_right } => is_right,
            Proof::Signature { context, signature } => {
                constant_time::verify_slices_are_equal(context.sign().as_ref(), &signature).is_ok()
            }
        };
        if is_right { Ok(()) } else { Err(Refused::Wrong) }
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge(..)")
    }
}

fn from_hex(text: &[u8]) -> Option<[u8; digest::SHA256_OUTPUT_LEN]> {
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's own example in its documentation of webhooks.
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn judged(name: &'static str, value: &str, secret: &[u8], body: &[u8]) -> Result<(), Refused> {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        let mut judge = Judge::new(&headers, secret)?;
        for piece in body.chunks(5) {
            judge.update(piece);
        }
        judge.finish()
    }

    #[test]
    fn who_knows_the_secret_is_heard() {
        assert_eq!(judged("x-hub-signature-256", SIGNATURE, SECRET, BODY), Ok(()));
        assert_eq!(judged("x-hub-signature", SIGNATURE, SECRET, BODY), Ok(()));
        assert_eq!(judged("x-gitlab-token", "It's a Secret to Everybody", SECRET, b"anything"), Ok(()));
    }

    #[test]
    fn nobody_else_is_heard() {
        let (wrong, none) = (Err(Refused::Wrong), Err(Refused::NoProof));
        assert_eq!(judged("x-hub-signature-256", SIGNATURE, SECRET, b"Hello, World?"), wrong);
        assert_eq!(judged("x-hub-signature-256", SIGNATURE, b"another", BODY), wrong);
        assert_eq!(judged("x-hub-signature-256", &SIGNATURE[..70], SECRET, BODY), wrong);
        assert_eq!(judged("x-hub-signature-256", &SIGNATURE.replace('7', "x"), SECRET, BODY), wrong);
        assert_eq!(judged("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59", SECRET, BODY), wrong);
        assert_eq!(judged("x-gitlab-token", "It's a secret to everybody", SECRET, BODY), wrong);
        assert_eq!(judged("x-gitlab-token", "", b"", BODY), wrong);
        assert_eq!(judged("authorization", "Bearer x", SECRET, BODY), none);
    }
}
