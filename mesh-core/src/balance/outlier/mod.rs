//! Outlier detection: endpoints whose answers are bad are ejected for a while, and come back.
//!
//! ```text
//!            detection, enforced, share of ejected endpoints allows it
//!  in use ────────────────────────────────────────────────────────────▶ ejected
//!    ▲                                                                     │
//!    └─────────────────────────────────────────────────────────────────────┘
//!            tick after base × number of ejections, or an active check passed
//! ```
//!
//! [`Monitor`] counts the results of one endpoint, on atomics and from many tasks at once; [`Detector`] decides, with the
//! time handed in. The arithmetic is Envoy's.

mod detector;
mod monitor;
mod settings;

pub use detector::{Change, Detector};
pub use monitor::{Detection, Monitor, Outcome};
pub use settings::{InvalidOutlierSettings, OutlierSettings};

#[cfg(test)]
mod tests;
