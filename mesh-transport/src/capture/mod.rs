//! Capture by the kernel (Linux): rules that redirect a pod's or a host's traffic into a proxy, and the node agent
//! protocol by which a node proxy learns of pods and enters their network namespaces.
//!
//! | room | holds |
//! | --- | --- |
//! | [`Rules`] | which traffic goes where, as nftables rules and policy routes; pure |
//! | [`install`], [`remove`] | putting them into a network namespace, whole and idempotent |
//! | [`agent`] | the node agent protocol, both sides |
//!
//! Another way of redirection than nftables takes the place of [`install`] and leaves the rest as it is: a proxy only asks
//! a socket for its original destination.

pub mod agent;
mod install;
mod rules;

pub use install::{Error, install, remove};
pub use rules::{PACKET_MARK, Ports, Route, Rules};
