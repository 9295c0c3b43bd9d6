//! Token buckets: how often something may happen.

mod bucket;

pub use bucket::{Bucket, InvalidBucket, Taken, TokenBucket};
