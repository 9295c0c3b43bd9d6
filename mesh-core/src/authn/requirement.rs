use std::collections::BTreeMap;

use super::limits::MAX_DEPTH;
use super::{ConfigError, Provider};
use crate::name::Text;

/// What is demanded of a request. Envoy's `JwtRequirement`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing.
    #[default]
    Nothing,
    /// Tokens of a provider, of which there must be one at least. All that are found in its places must be good: a service
    /// behind could take the bad one for the one that was verified.
    Provider {
        /// The provider's name.
        name: Text,
        /// The audiences that count instead of the provider's; empty for the provider's.
        audiences: Vec<Text>,
    },
    /// One of these.
    Any(Vec<Self>),
    /// All of these.
    All(Vec<Self>),
    /// No token at all, or good ones only. Within [`Requirement::Any`]: none at the places of those beside it.
    AllowMissing,
    /// Whatever comes. What is good is passed on as such.
    AllowMissingOrFailed,
}

impl Requirement {
    /// Tokens of a provider.
    pub fn provider(name: impl Into<Text>) -> Self {
        Self::Provider { name: name.into(), audiences: Vec::new() }
    }

    fn is_lenience(&self) -> bool {
        matches!(self, Self::AllowMissing | Self::AllowMissingOrFailed)
    }
}

/// A requirement in which providers are numbers, by the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Nothing,
    Provider { at: usize, audiences: Option<Vec<Text>> },
    Any { nodes: Vec<Self>, lenience: Lenience },
    All(Vec<Self>),
    AllowMissing,
    AllowMissingOrFailed,
}

/// What an alternative takes beside what it demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lenience {
    None,
    Missing,
    Failed,
}

impl Node {
    pub(super) fn new(requirement: &Requirement, providers: &BTreeMap<Text, Provider>) -> Result<Self, ConfigError> {
        Self::within(requirement, providers, MAX_DEPTH)
    }

    fn within(
        requirement: &Requirement,
        providers: &BTreeMap<Text, Provider>,
        depth: usize,
    ) -> Result<Self, ConfigError> {
        let below = |list: &mut dyn Iterator<Item = &Requirement>| {
            let depth = depth.checked_sub(1).ok_or(ConfigError::TooDeep)?;
            list.map(|one| Self::within(one, providers, depth)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match requirement {
            Requirement::Nothing => Self::Nothing,
            Requirement::AllowMissing => Self::AllowMissing,
            Requirement::AllowMissingOrFailed => Self::AllowMissingOrFailed,
            Requirement::Provider { name, audiences } => {
                let at = providers.keys().position(|known| known == name);
                let at = at.ok_or_else(|| ConfigError::UnknownProvider(name.clone()))?;
                Self::Provider { at, audiences: Some(audiences.clone()).filter(|audiences| !audiences.is_empty()) }
            }
            Requirement::All(list) => Self::All(below(&mut list.iter())?),
            Requirement::Any(list) => {
                // As Envoy has it: lenience is no alternative of its own, unless it is the only one; it is asked when all have
                // failed. That of an alternative which is itself one of several stays within it.
                let lenience = Lenience::of(list);
                let nodes = below(&mut list.iter().filter(|one| !one.is_lenience()))?;
                match (nodes.is_empty(), lenience) {
                    (true, Lenience::Failed) => Self::AllowMissingOrFailed,
                    (true, Lenience::Missing) => Self::AllowMissing,
                    _ => Self::Any { nodes, lenience },
                }
            }
        })
    }
}

impl Lenience {
    /// That of a list of alternatives.
    fn of(list: &[Requirement]) -> Self {
        match () {
            () if list.contains(&Requirement::AllowMissingOrFailed) => Self::Failed,
            () if list.contains(&Requirement::AllowMissing) => Self::Missing,
            () => Self::None,
        }
    }
}
