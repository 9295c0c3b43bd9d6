use super::super::pick::{Preferred, Request};
use crate::route::{Priority, Subset};

/// What a request says to who picks an endpoint for it; stands in its extensions. As [`Request`], and owned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PickHint {
    /// What requests that belong together have in common; without, it is random.
    pub hash: Option<u64>,
    /// How many times it was tried before.
    pub attempt: u32,
    /// Which limits it counts to.
    pub priority: Priority,
    /// The values that endpoints must have; empty for any.
    pub subset: Subset,
    /// The endpoint that it should go to if that is healthy.
    pub preferred: Option<Preferred>,
}

impl PickHint {
    /// The same, borrowed.
    #[must_use]
    pub const fn request(&self) -> Request<'_> {
        Request {
            hash: self.hash,
            attempt: self.attempt,
            priority: self.priority,
            subset: Some(&self.subset),
            preferred: self.preferred,
            avoided_priorities: &[],
            original: None,
        }
    }
}
