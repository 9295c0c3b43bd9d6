//! SPIFFE identity.

pub mod authority;
pub mod bundle;
pub mod clock;
pub mod file;
pub mod limits;
pub mod pem;
pub mod proto;
pub mod source;
pub mod svid;
pub mod task;
pub mod tls;
pub mod verify;
