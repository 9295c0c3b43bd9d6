//! How conditions are put together, which is the same for those on what is done and those on who does it.

use super::facts::Facts;
use super::policy::{Permission, Principal};

/// A condition that may be put together of others.
pub(in crate::authz) trait Tree: Sized {
    /// One that always holds.
    fn any() -> Self;
    /// All of these hold.
    fn and(all: Vec<Self>) -> Self;
    /// One of these holds.
    fn or(some: Vec<Self>) -> Self;
    /// This does not hold.
    fn not(condition: Self) -> Self;
    /// What it is put together of.
    fn shape(&self) -> Shape<'_, Self>;
    /// Whether it holds.
    fn holds(&self, facts: &Facts<'_>) -> bool;
}

/// What a condition is put together of.
pub(in crate::authz) enum Shape<'a, T> {
    Any,
    And(&'a [T]),
    Or(&'a [T]),
    Not(&'a T),
    Leaf(&'a T),
}

macro_rules! tree {
    ($condition:ident) => {
        impl Tree for $condition {
            fn any() -> Self {
                Self::Any
            }

            fn and(all: Vec<Self>) -> Self {
                Self::And(all)
            }

            fn or(some: Vec<Self>) -> Self {
                Self::Or(some)
            }

            fn not(condition: Self) -> Self {
                Self::Not(Box::new(condition))
            }

            fn shape(&self) -> Shape<'_, Self> {
                match self {
                    Self::Any => Shape::Any,
                    Self::And(all) => Shape::And(all),
                    Self::Or(some) => Shape::Or(some),
                    Self::Not(condition) => Shape::Not(condition),
                    leaf => Shape::Leaf(leaf),
                }
            }

            fn holds(&self, facts: &Facts<'_>) -> bool {
                self.is_match(facts)
            }
        }
    };
}

tree!(Permission);
tree!(Principal);
