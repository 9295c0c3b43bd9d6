//! Admission policies in Rego, as users of Open Policy Agent have them.
//!
//! A policy is a file `*.rego` (those of tests, `*_test.rego`, are passed over), in the syntax of Rego 1.0 or before. In any
//! package, the rules `deny` and `violation` refuse an object and `warn` warns of it, each as a set of messages, texts or
//! objects with `msg`. What they see:
//!
//! * `input.request` and `input.review`, the same in two names (that of OPA's admission control, and that of Gatekeeper): `kind`
//!   (`group`, `version`, `kind`), `name`, `namespace`, `operation`, `object`, `oldObject`, and `userInfo` where somebody asked
//!   an API server.
//! * `data.mesh`, the objects that are in force, or come into force together with this one: by kind, in plural and lower case,
//!   namespace and name: `data.mesh.services.shop.catalog`. What is in no namespace stands right below its kind.
//!
//! A verdict follows from policies, object and `data.mesh` alone: there are no clock, no chance, no network, no environment. A
//! call of a function that is not there refuses the policy when it is read.
//!
//! It fails closed. Policies that cannot be read leave the last good ones in force; where there are none yet, everything is
//! refused. A policy that takes more than [`MAX_STEPS`] steps over one object refuses it, and is named. Steps are counted, not
//! seconds, so that a busy machine comes to the same verdict; a deadline stands behind for what counts no steps. The memory
//! that a policy takes is bounded by its steps and its longest texts only: policies are trusted as settings are.

mod admission;
mod budget;
mod calls;
mod files;
mod follow;
mod functions;
mod input;
mod policies;
mod verdict;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use budget::MAX_STEPS;
pub use files::{PolicyFile, read_directory};
pub use follow::Follow;
pub use policies::Policies;
