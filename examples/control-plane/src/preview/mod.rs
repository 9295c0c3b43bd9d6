//! What traffic does, and what a change does to it, before it is applied.
//!
//! ```text
//! world ──► mesh ──► plan (ways) ──► judge (node proxies, waypoints) ──► explain
//!                                                                   └──► diff (two of them)
//! ```
//!
//! Nothing is decided here. A [`Mesh`] is made of what is served: the catalog and the policies that node proxies hold,
//! and the programs of waypoints. [`mesh_core::resolve`] says which way a connection goes, [`mesh_core::authz`] what a
//! node proxy and a waypoint let pass, [`mesh_core::route`] where a request goes; each is the function that the proxies
//! call.
//!
//! # What is taken for granted
//!
//! * A workload that speaks HBONE is captured: what it sends goes through its node proxy. One that does not is
//!   outside the mesh; its traffic goes where addresses lead, in plaintext and past waypoints.
//! * Endpoints are as healthy as their records say, and where the waypoint runs makes no difference.
//! * What an external authorizer would say, and what the proxies of another network do, is not known:
//!   [`Access::Asked`].
//! * A token is good if its issuer is known.

pub mod diff;
mod explain;
mod find;
mod mesh;
mod outcome;
mod page;
mod probe;
mod program;
mod route;
mod trail;
mod walk;
mod waypoint;
mod words;

pub use explain::{Answer, Question, QuestionError, Way};
pub use mesh::Mesh;
pub use outcome::{Access, Cause, Outcome, Point, PolicyRef, RouteAnswer, Via, Why};
pub(crate) use page::page;
pub use probe::{Probe, ProbeError};
pub use trail::{Considered, TakenRoute};
pub use walk::{Addressee, Client};
