//! Circuit breakers: how much may be under way to a cluster at once. Counters are atomics; what was admitted is counted
//! until its guard is dropped.

mod breaker;
mod settings;
mod window;

pub use breaker::{Circuit, CircuitGuard};
pub use settings::{CircuitSettings, RetryLimit, Thresholds};
