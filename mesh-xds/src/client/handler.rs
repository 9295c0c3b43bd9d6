//! What a client wants, and what becomes of what it is told.

use std::future::Future;
use std::time::Duration;

use super::machine::{Interest, Machine, Rejected, Update};

/// A change of what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A type is wanted in this way.
    Want(&'static str, Interest),
    /// Resources are wanted by name.
    Subscribe(&'static str, Vec<String>),
    /// They are wanted no more.
    Unsubscribe(&'static str, Vec<String>),
    /// A resource is held from before a restart.
    Hold {
        /// The type.
        type_url: &'static str,
        /// The name.
        name: String,
        /// The version.
        version: String,
        /// The server it came from, if that is known.
        server: Option<usize>,
        /// How long it may still be used; for ever when it does not say.
        left: Option<Duration>,
    },
}

/// Something that became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An answer was applied.
    Answered {
        /// The server.
        server: usize,
        /// What was rejected of it.
        rejected: Option<&'a str>,
    },
    /// A stream ended, or could not be opened.
    Ended {
        /// The server.
        server: usize,
        /// Why.
        error: &'a str,
        /// Whether another server is listened to.
        connected: bool,
        /// Whether no server can be reached.
        cut_off: bool,
    },
}

/// Applies what servers say, and says what is wanted of them.
pub trait Handler: Send {
    /// Applies an update and gives what is rejected of it. The update is acknowledged when this has returned.
    fn apply(&mut self, update: &Update) -> Vec<Rejected>;

    /// The name of a resource, by its type and body: of the state-of-the-world variant, which has no other place for it.
    /// By default the first field of the message, where all of Envoy's types have it.
    fn name(&self, _type_url: &str, body: &[u8]) -> Option<String> {
        first_field(body)
    }

    /// Nothing was heard of resources in time. `transient`: that is the trouble of the server.
    fn missing(&mut self, _type_url: &str, _names: &[String], _transient: bool) {}

    /// What changed in what is wanted since the last time. Nothing by default.
    fn wishes(&mut self) -> Vec<Wish> {
        Vec::new()
    }

    /// Completes when there are wishes. Never by default.
    fn news(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The machine after an update, or after a stream has ended.
    fn observe(&mut self, machine: &Machine, event: Event<'_>);
}

/// The first field of a message, if it is a text.
#[must_use]
pub fn first_field(body: &[u8]) -> Option<String> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    let named: Named = prost::Message::decode(body).ok()?;
    Some(named.name).filter(|name| !name.is_empty())
}
