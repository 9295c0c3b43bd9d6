//! Admission policies in Rego, as users of Open Policy Agent have them.
//!
//! A policy is a file `*.rego` (those of tests, `*_test.rego`, are passed over), in the syntax of Rego 1.0 or before. In any
//! package, the rules `deny` and `violation` refuse an object and `warn` warns of it, each as a set of messages, texts or
//! objects with `msg`. What they see:
//!
//! * `input.request` and `input.review`, the same in two names (that of OPA's admission control, and that of Gatekeeper): `kind`
//!   (`group`, `version`, `kind`), `name`, `namespace`, `operation`, `object`, `oldObject`, and `userInfo` where somebody asked
//!   an API server.
//! * `data.inventory`, as Gatekeeper has it: all objects that there will be, this one among them:
//!   `data.inventory.namespace[namespace][apiVersion][kind][name]`, and `data.inventory.cluster[apiVersion][kind][name]` for what
//!   is in no namespace.
//! * `data.mesh`, the same by kind, in plural and lower case, namespace and name: `data.mesh.services.shop.catalog`. What is in
//!   no namespace stands right below its kind.
//!
//! These two are put together only for policies that name them (or `data` as a whole).
//!
//! | what happens | `operation` | `object` | `oldObject` |
//! | --- | --- | --- | --- |
//! | an object is new | `CREATE` | as it is to be | `null` |
//! | it is to be otherwise | `UPDATE` | as it is to be | as it is |
//! | it stays, and is judged again: policies are others, or others that they look at are | `UPDATE` | as it is | the same |
//! | it goes | `DELETE` | `null` | as it is |
//!
//! About what goes, only rules are asked in whose file `operation`, `oldObject` or `DELETE` stands, or that call other packages
//! where one does: a rule that was written for what comes would say of an object that is not there that it lacks everything.
//!
//! A verdict follows from policies, question and inventory alone: there are no clock, no chance, no network, no environment. A
//! call of a function that is not there refuses the policy when it is read.
//!
//! It fails closed. Policies that cannot be read leave the last good ones in force; where there are none yet, everything is
//! refused. A policy that takes more than [`MAX_STEPS`] steps over one object refuses it, and is named. Steps are counted, not
//! seconds, so that a busy machine comes to the same verdict; a deadline stands behind for what counts no steps. The memory
//! that a policy takes is bounded by its steps and its longest texts only: policies are trusted as settings are.

mod admission;
mod budget;
mod calls;
mod data;
mod files;
mod follow;
mod functions;
mod input;
mod policies;
mod reads;
mod verdict;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use budget::MAX_STEPS;
pub use files::{PolicyFile, read_directory};
pub use follow::Follow;
pub use policies::Policies;
