//! Short programs, one per way of using the crates; see `src/bin`.
