//! How bytes move.

pub mod hbone;
pub mod proxy;
pub mod relay;
pub mod socket;
