//! What programs run on.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// So many threads; one per core for 0.
///
/// # Errors
/// The machine gives none.
pub fn with_threads(threads: usize) -> io::Result<Runtime> {
    let threads = match threads {
        0 => std::thread::available_parallelism()?.get(),
        number => number,
    };
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}
