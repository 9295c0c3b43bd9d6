//! What tests need beside the crates: certificates with any fault one likes, and tokens. Knows none of our crates, so that it cannot
//! repeat their mistakes.

#![expect(clippy::expect_used, reason = "tests end where their certificates cannot be made")]

pub mod pki;
pub mod token;
