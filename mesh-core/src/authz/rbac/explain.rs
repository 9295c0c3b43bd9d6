use std::fmt;

use super::facts::{Facts, Peer};
use super::policy::{Permission, Policy, Principal, Rbac};
use super::tree::{Shape, Tree};
use super::verdict::Verdict;
use crate::name::Text;
use crate::request::{HeaderMatch, MetadataMatch};

/// A verdict and what every policy had to say. Prints as lines for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Rbac::evaluate`] says.
    pub verdict: Verdict,
    /// The policies, in the order in which they are asked.
    pub considered: Vec<Considered>,
}

/// One policy and whether it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Its name.
    pub policy: Text,
    /// Whether it matches.
    pub outcome: Outcome,
}

/// Whether a policy matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It does.
    Matches,
    /// It does not, because of this: the condition that failed and what was seen instead; of several alternatives each.
    Fails(String),
}

impl Rbac {
    /// Evaluates, and says of every policy which of its conditions failed. For `explain` calls and tests; it allocates.
    #[must_use]
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        let considered = self.policies.iter().map(|(name, policy)| Considered {
            policy: name.clone(),
            outcome: match policy.is_match(facts) {
                true => Outcome::Matches,
                false => Outcome::Fails(policy.failure(facts)),
            },
        });
        Explanation { considered: considered.collect(), verdict: self.evaluate(facts) }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)?;
        self.considered.iter().try_for_each(|Considered { policy, outcome }| match outcome {
            Outcome::Matches => write!(f, "\n{policy}: matches"),
            Outcome::Fails(why) => write!(f, "\n{policy}: {why}"),
        })
    }
}

impl Policy {
    /// Why it does not match.
    fn failure(&self, facts: &Facts<'_>) -> String {
        match self.permissions.iter().any(|permission| permission.is_match(facts)) {
            false => failures(&self.permissions, facts),
            true => failures(&self.principals, facts),
        }
    }
}

/// A condition that can say what it looks at.
trait Condition: Tree + fmt::Display {
    /// What a condition that is put together of no others looks at, as it is.
    fn sees(&self, facts: &Facts<'_>) -> String;
}

fn failures<T: Condition>(alternatives: &[T], facts: &Facts<'_>) -> String {
    if alternatives.is_empty() {
        return "there is no alternative".to_owned();
    }
    let each: Vec<_> = alternatives.iter().map(|condition| failure(condition, facts)).collect();
    each.join("; ")
}

/// Why a condition, which fails, fails.
fn failure<T: Condition>(condition: &T, facts: &Facts<'_>) -> String {
    match condition.shape() {
        Shape::And(all) => {
            let failed = all.iter().find(|condition| !condition.holds(facts));
            failed.map_or_else(String::new, |condition| failure(condition, facts))
        }
        Shape::Or(some) => failures(some, facts),
        Shape::Any | Shape::Not(_) | Shape::Leaf(_) => format!("wants {condition}, sees {}", seen(condition, facts)),
    }
}

/// What a condition looks at, as it is.
fn seen<T: Condition>(condition: &T, facts: &Facts<'_>) -> String {
    match condition.shape() {
        Shape::Any => String::new(),
        Shape::And(list) | Shape::Or(list) => {
            list.iter().map(|condition| seen(condition, facts)).collect::<Vec<_>>().join(", ")
        }
        Shape::Not(condition) => seen(condition, facts),
        Shape::Leaf(leaf) => leaf.sees(facts),
    }
}

impl Condition for Permission {
    fn sees(&self, facts: &Facts<'_>) -> String {
        match self {
            Self::Any | Self::And(_) | Self::Or(_) | Self::Not(_) => String::new(),
            Self::Header(matcher) => header(matcher, facts),
            Self::Path(_) | Self::PathTemplate(_) => quoted(facts.path()),
            Self::Metadata(matcher) => metadata(matcher, facts),
            Self::DestinationIp(_) | Self::DestinationPort(_) | Self::DestinationPorts(_) => {
                facts.destination.to_string()
            }
            Self::ServerName(_) => quoted(facts.server_name),
        }
    }
}

impl Condition for Principal {
    fn sees(&self, facts: &Facts<'_>) -> String {
        match self {
            Self::Any | Self::And(_) | Self::Or(_) | Self::Not(_) => String::new(),
            Self::Authenticated(_) => match facts.peer {
                None => "plaintext".to_owned(),
                Some(peer) => format!("{:?}", peer.names()),
            },
            Self::PeerPrincipal(_) => quoted(facts.peer.as_ref().and_then(Peer::principal)),
            Self::Metadata(matcher) => metadata(matcher, facts),
            Self::SourceIp(_) => facts.source.to_string(),
            Self::DirectRemoteIp(_) => facts.direct_remote.to_string(),
            Self::RemoteIp(_) => facts.remote.to_string(),
            Self::Header(matcher) => header(matcher, facts),
            Self::Path(_) => quoted(facts.path()),
        }
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), |text| format!("{text:?}"))
}

fn header(matcher: &HeaderMatch, facts: &Facts<'_>) -> String {
    quoted(facts.request.as_ref().and_then(|request| request.text(&matcher.name)).as_deref())
}

fn metadata(matcher: &MetadataMatch, facts: &Facts<'_>) -> String {
    let value = facts.metadata.and_then(|metadata| metadata.at(matcher.filter.as_str(), &matcher.path));
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}
