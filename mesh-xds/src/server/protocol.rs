use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::cache::Snapshot;
use super::error::Error;
use super::ledger::{Heard, Progress};
use super::precedence::{Order, Precedence, Subscribed, Turn, Types, is_chained};
use super::registry::Inspect;
use super::rules::{Clock, Rules};
use super::told::{self, Told};
use super::visible::Visible;
use crate::envoy::ENDPOINT_TYPE;
use crate::pb;
use crate::pb::Node;

/// One of both variants of the protocol: what a machine of it reads and writes. In which order it writes is the same of both.
pub(super) trait Protocol: Sized + Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    type Subscription: Subscription;

    fn open(rules: Rules) -> Self;
    fn core(&self) -> &Core<Self::Subscription>;
    fn core_mut(&mut self) -> &mut Core<Self::Subscription>;
    fn handle_request(&mut self, request: &Self::Request) -> Result<Heard, Error>;
    /// An answer of one type: what is new, and what is gone when the client is to be told of that as well.
    fn poll_type(&mut self, type_url: &str, snapshot: &Snapshot, gone: bool) -> Option<Self::Response>;
    /// Says of resources that nothing but their time changes.
    fn poll_heartbeat(&mut self, type_url: &str, snapshot: &Snapshot) -> Option<Self::Response>;
    fn node(request: &Self::Request) -> Option<&Node>;
    /// The type of an answer, how many resources it brings and takes away, and its size.
    fn told(response: &Self::Response) -> (&str, usize, usize, usize);
    /// The type of a request, and what it says against an answer.
    fn said(request: &Self::Request) -> (&str, Option<&pb::Status>);

    /// The next answer: what is new of every type, then what is gone, then heartbeats.
    fn poll_response(&mut self, snapshot: &Snapshot, order: &[&str], patient: bool) -> Option<Self::Response> {
        let Order { make, leave } = Order::new(&self.core().types, order);
        self.core_mut().begin(patient);
        let before_others = order.split_last().map_or(&[][..], |(_, before)| before);
        for url in &make {
            let turn = self.core().turn(url, snapshot, Precedence::of_new);
            // What comes last may lose and gain in one answer.
            let gone = !is_chained(url) && !before_others.contains(&url.as_str());
            let answer = self.poll_in_turn(url, snapshot, gone, (turn, patient));
            if answer.is_some() {
                return answer;
            }
        }
        for url in &leave {
            if !self.core().types.get(url).is_some_and(Subscribed::loses) {
                continue;
            }
            // What is new and waits may be what the client needs before anything goes.
            let turn = match self.core().turn(url, snapshot, Precedence::of_gone) {
                Turn::Now if self.core().holding && is_chained(url) => Turn::Waits,
                turn => turn,
            };
            let answer = self.poll_in_turn(url, snapshot, true, (turn, patient));
            if answer.is_some() {
                return answer;
            }
        }
        make.iter().find_map(|url| self.poll_heartbeat(url, snapshot))
    }

    /// An answer of one type, unless it is not its turn.
    fn poll_in_turn(
        &mut self,
        type_url: &str,
        snapshot: &Snapshot,
        gone: bool,
        (turn, patient): (Turn, bool),
    ) -> Option<Self::Response> {
        match turn {
            Turn::Stays => return None,
            Turn::Waits if patient => {
                self.core_mut().holding = true;
                return None;
            }
            Turn::Waits | Turn::Now => {}
        }
        let answer = self.poll_type(type_url, snapshot, gone)?;
        let core = self.core_mut();
        core.overtakes = turn == Turn::Waits;
        core.precedence.settle(&core.types);
        Some(answer)
    }
}

/// A client's subscription to one type.
pub(super) trait Subscription: Subscribed {
    /// Whether it is to everything, and the names in it.
    fn wanted(&self) -> (bool, &BTreeSet<String>);
    fn next_heartbeat(&self) -> Option<Instant>;
}

/// The state of one stream that is the same in both variants.
#[derive(Debug)]
pub(super) struct Core<S> {
    pub(super) rules: Rules,
    pub(super) clock: Clock,
    pub(super) types: Types<S>,
    pub(super) precedence: Precedence,
    /// Number of answers so far, and nonce of the last.
    pub(super) nonces: u64,
    /// Whether an answer waits for the client to accept another first.
    pub(super) holding: bool,
    /// Whether the last answer did not wait for that, for patience had ended.
    pub(super) overtakes: bool,
}

impl<S> Default for Core<S> {
    fn default() -> Self {
        Self::new(Rules::default())
    }
}

impl<S> Core<S> {
    pub(super) fn new(rules: Rules) -> Self {
        let (clock, types, precedence) = (Clock::default(), Types::new(), Precedence::default());
        Self { rules, clock, types, precedence, nonces: 0, holding: false, overtakes: false }
    }
}

impl<S: Subscription> Core<S> {
    pub(super) fn progress(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.types.iter().map(|(url, subscription)| (url.as_str(), subscription.ledger().progress()))
    }

    /// Whether the client has answered all that it was sent, and nothing is held back for its answer.
    pub(super) fn is_settled(&self) -> bool {
        !self.holding && !self.types.values().any(|subscription| subscription.ledger().is_waiting())
    }

    pub(super) fn next_heartbeat(&self) -> Option<Instant> {
        self.types.values().filter_map(Subscription::next_heartbeat).min()
    }

    fn begin(&mut self, patient: bool) {
        (self.holding, self.overtakes) = (false, false);
        self.precedence.settle(&self.types);
        if !patient {
            self.precedence.give_up(self.nonces);
        }
    }

    fn turn(
        &self,
        type_url: &str,
        snapshot: &Snapshot,
        of: impl Fn(&Precedence, &Types<S>, &str, Visible<'_>) -> Turn,
    ) -> Turn {
        let endpoints = Visible::new(snapshot, ENDPOINT_TYPE, self.rules.permissions.as_deref());
        of(&self.precedence, &self.types, type_url, endpoints)
    }
}

impl<P: Protocol> Inspect for P {
    fn progress(&self) -> BTreeMap<String, Progress> {
        self.core().progress().map(|(url, progress)| (url.to_owned(), progress)).collect()
    }

    fn visit(&self, snapshot: &Snapshot, visit: &mut dyn FnMut(Told<'_>)) {
        let core = self.core();
        for (url, subscription) in &core.types {
            let visible = Visible::new(snapshot, url, core.rules.permissions.as_deref());
            told::visit(url, visible, subscription.wanted(), subscription.ledger(), visit);
        }
    }
}
