use std::fmt;

use crate::name::NamespacedName;
use crate::path::TemplateError;
use crate::string_match::RegexError;

/// Something of a policy could not be understood, and what became of the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy}: `{field}`: {reason}; {effect}")]
#[non_exhaustive]
pub struct Problem {
    /// The policy.
    pub policy: NamespacedName,
    /// Where in it, such as `rules[0].from[1].ipBlocks[0]`.
    pub field: String,
    /// What is wrong.
    pub reason: Unusable,
    /// What is done nevertheless.
    pub effect: Effect,
}

/// What is done with a rule that is not understood whole. Either way less may pass than was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// The rule, which allows, is left out.
    RuleDropped,
    /// The rule, which denies, logs or has somebody asked, matches more than it says.
    RuleWidened,
    /// What the policy would put to an authorizer is denied.
    Denies,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RuleDropped => "the rule is left out",
            Self::RuleWidened => "the rule matches more than it says",
            Self::Denies => "what it matches is denied",
        })
    }
}

/// A value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It is no address or range of addresses.
    #[error("`{0}` is neither an address nor a range")]
    Address(String),
    /// It is no port.
    #[error("`{0}` is no port")]
    Port(String),
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It is no service account.
    #[error("`{0}` is neither `name` nor `namespace/name`")]
    ServiceAccount(String),
    /// It is no template of a path.
    #[error(transparent)]
    Path(#[from] TemplateError),
    /// It makes no usable expression.
    #[error(transparent)]
    Expression(#[from] RegexError),
    /// The key of a condition is not known.
    #[error("key `{0}` is not known")]
    Key(String),
    /// The external authorizer is not known.
    #[error("authorizer `{0}` is not known")]
    Provider(String),
}
