use std::sync::Arc;

use crate::finding::Finding;
use crate::world::World;

/// All that a source says at one time. Two of them share what they agree on, so that a copy costs nothing and
/// [`World::changed_since`] finds what differs at the cost of what differs.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Its objects: for each the last version that was good.
    pub world: World,
    /// What is wrong, or worth knowing, in what was read last.
    pub findings: Arc<[Finding]>,
    /// Which state it is: a commit, a resource version, a digest. Empty as long as nothing was read.
    pub revision: Arc<str>,
}
