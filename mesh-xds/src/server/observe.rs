use std::fmt;
use std::time::Duration;

/// Is told what a service does, as it does it: for metrics and logs. Called on the streams' own tasks, so it must be quick and
/// must not wait. Every method does nothing by default.
pub trait Observe: fmt::Debug + Send + Sync + 'static {
    /// An answer was handed to a stream that had room for it.
    fn pushed(&self, push: &Push<'_>) {
        let _ = push;
    }

    /// A client rejected an answer.
    fn rejected(&self, rejection: &Rejection<'_>) {
        let _ = rejection;
    }

    /// One client has answered all that a publication brought it, so long after the publication.
    fn settled(&self, client: &str, after: Duration) {
        let _ = (client, after);
    }

    /// The slowest client that was there when a publication was made has answered all of it, so long after. Clients that left
    /// meanwhile do not count, nor publications at which there was nobody.
    fn converged(&self, after: Duration) {
        let _ = after;
    }
}

/// One answer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Push<'a> {
    /// To whom.
    pub client: &'a str,
    /// The type of its resources.
    pub type_url: &'a str,
    /// How many resources are in it.
    pub resources: usize,
    /// How many it says to be gone.
    pub removed: usize,
    /// Its size in bytes.
    pub bytes: usize,
    /// How long after the publication it was handed over, when it was caused by one. `None`: the client had asked for it.
    pub after: Option<Duration>,
}

/// An answer that was rejected.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Rejection<'a> {
    /// By whom.
    pub client: &'a str,
    /// What the client says to be: its node id.
    pub node: &'a str,
    /// The type of the resources.
    pub type_url: &'a str,
    /// Why, as the client says it, cut to [`MAX_REASON_BYTES`](super::limits::MAX_REASON_BYTES).
    pub reason: &'a str,
}

/// Observes nothing.
#[derive(Debug)]
pub(super) struct Unobserved;

impl Observe for Unobserved {}
