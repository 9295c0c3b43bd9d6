//! Where resources come from.
//!
//! A [`Source`] runs as a task and says, again and again, all that it has: [`Said`]. Several run at once; [`Sources`] merges
//! what they say.
//!
//! # What of a source is in force
//!
//! * **A directory**: a file is taken whole or not at all. One with an error keeps the objects that it had when it was good
//!   last, and everything else goes on changing. When the control plane starts and a file is bad whose last good state is not
//!   known, nothing of the source is served, as nobody knows what the file was meant to protect. As long as there is a bad file
//!   without a last good state, the objects of files that vanish stay in force: a file may have been moved and broken at once.
//!   With `on_error: source` it is the whole directory that is held.
//! * **A repository of git**: a commit is taken whole or not at all.
//! * An object that stands in two files of a source is an error at the path that comes later; the earlier one counts.
//! * The last good state is on disk, in the state directory, and in force from the start after a restart. While it cannot be
//!   written, what is served goes on, and a finding says so.
//!
//! # How several are merged
//!
//! * The order of the settings is precedence: of one object (kind, namespace and name) in two sources that of the earlier one
//!   counts, and the other is a warning, unless both say the same.
//! * Nothing counts before every source that is `required` has said something once: half of what there is may be less
//!   protected than the whole.
//! * A source may be `authoritative`: of the kinds that it has objects of, it alone has the say. What others say otherwise or
//!   beside it is flagged, or (`divergence: refuse`) does not count.

mod accepted;
pub mod code;
pub mod dir;
mod directory;
mod files;
pub mod git;
mod hooks;
mod kept;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod merge;
mod metrics;
mod outlet;
mod places;
mod said;
mod say;
pub mod settings;
mod sources;
mod state;
#[cfg(test)]
mod tests;

use std::future::Future;

pub use directory::Directory;
pub use hooks::Hooks;
pub use merge::{Merge, Merged, Rules};
pub use metrics::Metrics;
pub use outlet::{Outlet, Progress};
pub use places::Places;
pub use said::Said;
pub use sources::{Beside, DIRECTORY, Error, Sources};
pub use state::State;

/// Something that says which resources there are.
pub trait Source: Send + 'static {
    /// Runs for as long as there is something to say. Whatever goes wrong is told as a finding, and what was said last stays
    /// in force.
    fn run(self, outlet: Outlet) -> impl Future<Output = ()> + Send;
}
