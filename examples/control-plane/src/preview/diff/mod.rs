//! What a change does to traffic: two worlds, each connection and request judged in both.
//!
//! Nothing is decided here. Each question is put to [`Mesh::judge`](super::Mesh::judge) twice, and what is told apart
//! by nothing that decides is asked once for all.
//!
//! # What is exact
//!
//! * **Who connects.** Every workload that is in both worlds, as what it is in each; every identity that a workload
//!   has in one of them; one identity for each thing that policies ask of identities; one that nothing names; plaintext
//!   from an address of each range that policies name, and from one of none. A workload counts with its first address.
//! * **What is addressed.** Every port of every service in both worlds; every workload in both worlds, at every port
//!   that a service leads to or a policy names, and at one other. What comes and goes is said once, not per client.
//! * **Services without a waypoint**, whose connections go to the same endpoints in both worlds, are said by these
//!   endpoints.
//!
//! # What stands for others
//!
//! Requests. Of methods, paths and hosts each combination is tried of those that conditions name in either world, and
//! one that none names. Of an expression it is the first text that comes to mind. Headers, cookies, parameters and
//! claims are tried one rule at a time: all that it wants, the same with each other value that it names, with a value
//! that nobody names, and without each of them. Two rules that only together do something to one request are not tried
//! together. That a token is good is taken for granted where its issuer is known. A route that takes a part of the
//! requests by chance is looked at for one number.

mod clients;
mod compare;
mod effect;
mod evaluation;
mod other;
mod probes;
mod render;
mod report;
mod sample;
mod shift;
mod subjects;
mod wishes;

pub use effect::Effect;
pub use report::{Report, diff};
pub use shift::Change;

#[cfg(test)]
mod tests;
