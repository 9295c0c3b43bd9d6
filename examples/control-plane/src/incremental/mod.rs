//! Values that are computed from others, and computed anew only when something that they read has changed.
//!
//! A [`Graph`] knows no values. It knows which *nodes* there are, each a computation; which *facts* each of them read when it
//! was last computed; and which nodes must be computed again. Whoever owns it does the computing:
//!
//! 1. what changed is said by [`Graph::changed`], which makes exactly the readers of a fact dirty;
//! 2. [`Graph::next`] gives the dirty nodes, those of lower layers first, so that each is computed once;
//! 3. after each, [`Graph::computed`] takes note of what it read, and the owner says which facts the new value changed. A
//!    value that is equal to the one before changes none, and there the spreading ends.
//!
//! A node reads only what nodes of lower layers make.

mod graph;
mod intern;
mod multimap;
mod slots;

pub(crate) use self::graph::{Graph, Layered};
pub(crate) use self::multimap::MultiMap;
pub(crate) use self::slots::{Claimant, SLOTS, Slots};

#[cfg(test)]
mod tests;
