//! Who of several replicas writes statuses: one that holds a Lease. Pure; the shell is in `leader`.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::time;

/// How long a Lease holds, and how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// So long after its last renewal another one may take it.
    pub lease: Duration,
    /// So long after its last renewal its holder acts no more. Shorter than `lease`, by more than clocks drift apart in it.
    pub renew: Duration,
    /// How often it is renewed, or looked at.
    pub retry: Duration,
}

impl Default for Terms {
    /// 15 s, 10 s and 2 s, as client-go has it.
    fn default() -> Self {
        let [lease, renew, retry] = [15, 10, 2].map(Duration::from_secs);
        Self { lease, renew, retry }
    }
}

/// What is to be done about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// It is somebody else's.
    Wait,
    /// It is not there: create it with this specification.
    Create(Value),
    /// Replace its specification, if nobody has changed it in between.
    Update(Value),
}

/// One candidate. Times of others are never compared with a clock here: a Lease has ended when it has stood unchanged for its
/// whole length before one's own eyes.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    terms: Terms,
    seen: Option<(Value, Instant)>,
}

impl Election {
    pub(super) fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, seen: None }
    }

    /// The Lease was read: its specification, or that there is none.
    pub(super) fn handle_lease(&mut self, now: Instant, wall: SystemTime, spec: Option<&Value>) -> Step {
        let Some(spec) = spec else { return Step::Create(self.claim(wall, None)) };
        let holder = spec.get("holderIdentity").and_then(Value::as_str).unwrap_or_default();
        if holder == self.identity || holder.is_empty() {
            return Step::Update(self.claim(wall, Some(spec)));
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            _ => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        // The holder says how long it holds; a Lease that says nothing is judged by one's own terms.
        let length = spec.get("leaseDurationSeconds").and_then(Value::as_u64).map(Duration::from_secs);
        if now.duration_since(since) < length.unwrap_or(self.terms.lease) {
            return Step::Wait;
        }
        Step::Update(self.claim(wall, Some(spec)))
    }

    /// What gives the Lease back, so that the next one need not wait for its end. `None` if it is somebody else's.
    pub(super) fn release(&self, wall: SystemTime, spec: &Value) -> Option<Value> {
        if spec.get("holderIdentity").and_then(Value::as_str) != Some(&self.identity) {
            return None;
        }
        let mut spec = self.claim(wall, Some(spec));
        spec["holderIdentity"] = "".into();
        spec["leaseDurationSeconds"] = 1.into();
        Some(spec)
    }

    fn claim(&self, wall: SystemTime, before: Option<&Value>) -> Value {
        let field = |name: &str| before.and_then(|spec| spec.get(name)).cloned();
        let is_mine = field("holderIdentity").is_some_and(|holder| holder == self.identity.as_str());
        let transitions = field("leaseTransitions").and_then(|count| count.as_u64()).unwrap_or(0);
        let now = time::micros(wall);
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.terms.lease.as_secs().max(1),
            "acquireTime": field("acquireTime").filter(|_| is_mine).unwrap_or_else(|| now.clone().into()),
            "renewTime": now,
            "leaseTransitions": if is_mine || before.is_none() { transitions } else { transitions + 1 },
        })
    }
}
