use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;

use super::keys::Fetching;
use super::limits::MAX_TOKEN_BYTES;
use super::place::{Finder, Found, Place};
use super::requirement::{Lenience, Node};
use super::{Failure, Keys, Provider, Token, Verification, Verifier};
use crate::name::Text;
use crate::request::Request;

/// A provider, ready to be asked.
pub(super) struct Known {
    pub(super) provider: Provider,
    pub(super) finder: Finder,
    pub(super) keys: Arc<dyn Keys>,
}

/// What waiting for keys has shown so far.
#[derive(Debug, Clone)]
pub(super) struct Learnt {
    pub(super) provider: usize,
    pub(super) token: Arc<Token>,
    pub(super) result: Result<(), Failure>,
}

/// A token that is good.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) provider: usize,
    pub(super) place: Place,
    pub(super) token: Arc<Token>,
}

/// A wait for keys. What it shows goes into a [`Learnt`], and the request is looked at again.
pub(super) struct Pending {
    pub(super) provider: usize,
    pub(super) token: Arc<Token>,
    pub(super) fetching: Fetching,
}

/// One look at one request. It has no effects: what is to be done to the request is told by [`Evaluation::verified`].
pub(super) struct Evaluation<'a> {
    providers: &'a [Known],
    everywhere: &'a Finder,
    verifier: &'a dyn Verifier,
    request: Request<'a>,
    now: SystemTime,
    learnt: &'a [Learnt],
    read: SmallVec<[Read<'a>; 2]>,
    taken: SmallVec<[Place; 2]>,
    verified: SmallVec<[Verified; 2]>,
}

/// A text that was read, and what it is.
type Read<'a> = (Cow<'a, str>, Result<Arc<Token>, Failure>);

/// Whether a requirement is met, or what must be waited for first.
type Verdict = Result<Result<(), Failure>, Pending>;

impl<'a> Evaluation<'a> {
    pub(super) fn new(
        providers: &'a [Known],
        everywhere: &'a Finder,
        verifier: &'a dyn Verifier,
        request: Request<'a>,
        learnt: &'a [Learnt],
    ) -> Self {
        let now = verifier.now();
        let (read, taken, verified) = (SmallVec::new(), SmallVec::new(), SmallVec::new());
        Self { providers, everywhere, verifier, request, now, learnt, read, taken, verified }
    }

    /// The good tokens that were found on the way to the verdict.
    pub(super) fn verified(self) -> SmallVec<[Verified; 2]> {
        self.verified
    }

    pub(super) fn meets(&mut self, node: &Node) -> Verdict {
        match node {
            Node::Nothing => Ok(Ok(())),
            Node::Provider { at, audiences } => self.provider(*at, audiences.as_deref()),
            Node::All(nodes) => {
                for node in nodes {
                    if let Err(failure) = self.meets(node)? {
                        return Ok(Err(failure));
                    }
                }
                Ok(Ok(()))
            }
            Node::Any { nodes, lenience } => self.any(nodes, *lenience),
            Node::AllowMissing => self.all_tokens(false),
            Node::AllowMissingOrFailed => self.all_tokens(true),
        }
    }

    fn any(&mut self, nodes: &[Node], lenience: Lenience) -> Verdict {
        let mut reason = Failure::Missing;
        for node in nodes {
            match self.meets(node)? {
                Ok(()) => return Ok(Ok(())),
                // The client hears of the token that was almost good, rather than of those that were meant for others.
                Err(failure) if !matches!(failure, Failure::Missing | Failure::Issuer) => reason = failure,
                Err(failure) if reason == Failure::Missing => reason = failure,
                Err(_) => {}
            }
        }
        Ok(match (lenience, reason) {
            (Lenience::Failed, _) | (Lenience::Missing, Failure::Missing) => Ok(()),
            _ => Err(reason),
        })
    }

    fn provider(&mut self, at: usize, audiences: Option<&[Text]>) -> Verdict {
        let providers = self.providers;
        let Some(known) = providers.get(at) else { return Ok(Err(Failure::Issuer)) };
        let found = match known.finder.find(&self.request, &self.taken) {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
        if found.is_empty() {
            return Ok(Err(Failure::Missing));
        }
        for one in found {
            if let Err(failure) = self.token(at, known, &one, audiences)? {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    /// Every token at any provider's place, by the provider that its issuer has there.
    fn all_tokens(&mut self, failed_too: bool) -> Verdict {
        let (providers, everywhere) = (self.providers, self.everywhere);
        let found = match everywhere.find(&self.request, &self.taken) {
            Ok(found) => found,
            Err(failure) => return Ok(if failed_too { Ok(()) } else { Err(failure) }),
        };
        for one in found {
            let verdict = match self.read(&one) {
                Ok(token) => {
                    let of_issuer = |issuer: Option<&str>| {
                        let mut known = one.providers.iter().filter_map(|at| Some((*at, providers.get(*at)?)));
                        known.find(|(_, known)| known.provider.issuer.as_ref().map(Text::as_str) == issuer)
                    };
                    match of_issuer(Some(token.issuer())).or_else(|| of_issuer(None)) {
                        Some((at, known)) => self.token(at, known, &one, None)?,
                        None => Err(Failure::Issuer),
                    }
                }
                Err(failure) => Err(failure),
            };
            if let (Err(failure), false) = (verdict, failed_too) {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    fn token(&mut self, at: usize, known: &Known, found: &Found<'a, '_>, audiences: Option<&[Text]>) -> Verdict {
        let checked = self.read(found).and_then(|token| {
            token.check(&known.provider, audiences, self.now)?;
            Ok(token)
        });
        let token = match checked {
            Ok(token) => token,
            Err(failure) => return Ok(Err(failure)),
        };
        let learnt = |learnt: &&Learnt| learnt.provider == at && learnt.token.text() == token.text();
        let signed = match self.learnt.iter().find(learnt) {
            Some(learnt) => learnt.result,
            None => match known.keys.verify(&token) {
                Verification::Done(result) => result,
                Verification::Wait(fetching) => return Err(Pending { provider: at, token, fetching }),
            },
        };
        if let Err(failure) = signed {
            return Ok(Err(failure));
        }
        let place = found.place.to_place();
        if !known.provider.forward && place != Place::Cookie {
            self.taken.push(place.clone());
        }
        let twice = |one: &Verified| one.provider == at && one.place == place && one.token.text() == token.text();
        if !self.verified.iter().any(twice) {
            self.verified.push(Verified { provider: at, place, token });
        }
        Ok(Ok(()))
    }

    fn read(&mut self, found: &Found<'a, '_>) -> Result<Arc<Token>, Failure> {
        let text = &found.text;
        if let Some((_, known)) = self.read.iter().find(|(known, _)| known == text) {
            return known.clone();
        }
        let again = self.learnt.iter().find(|learnt| learnt.token.text() == text.as_ref());
        let token = match again {
            Some(learnt) => Ok(Arc::clone(&learnt.token)),
            None if text.len() > MAX_TOKEN_BYTES => Err(Failure::TooLarge),
            None => self.verifier.read(text),
        };
        self.read.push((text.clone(), token.clone()));
        token
    }
}
