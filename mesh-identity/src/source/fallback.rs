use std::sync::Arc;

use mesh_core::name::SpiffeId;
use mesh_core::report::chain;

use super::{Error, Fetch, SvidSource};

/// Sources in order: each is asked when those before it failed.
#[derive(Debug)]
pub struct Fallback {
    first: Arc<dyn SvidSource>,
    others: Vec<Arc<dyn SvidSource>>,
}

impl Fallback {
    /// One source so far.
    #[must_use]
    pub fn new(first: Arc<dyn SvidSource>) -> Self {
        Self { first, others: Vec::new() }
    }

    /// And then this one.
    #[must_use]
    pub fn then(mut self, next: Arc<dyn SvidSource>) -> Self {
        self.others.push(next);
        self
    }
}

impl SvidSource for Fallback {
    /// Fails with what the last one says; what the others say is logged.
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(async move {
            let mut outcome = self.first.fetch(id).await;
            for next in &self.others {
                match outcome {
                    Err(error) if !matches!(error, Error::Closed) => {
                        tracing::warn!(identity = %id, error = chain(&error), "the next source of SVIDs is asked");
                        outcome = next.fetch(id).await;
                    }
                    done => return done,
                }
            }
            outcome
        })
    }
}
