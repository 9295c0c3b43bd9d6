/// How much to read at once: little at first, more when a stream turns out to carry much.
#[derive(Debug, Default)]
pub(super) struct Adaptive {
    total: u64,
}

/// Most streams are small requests.
const SMALL: usize = 4 * 1024;

/// One TLS record of plaintext is 16 KiB; 64 bytes are left for frame headers.
const MEDIUM: usize = 16 * 1024 - 64;

/// Bulk: fewer system calls.
const LARGE: usize = 256 * 1024 - 64;

const MEDIUM_FROM: u64 = 128 * 1024;
const LARGE_FROM: u64 = 10 * 1024 * 1024;

impl Adaptive {
    pub(super) fn size(&self) -> usize {
        match self.total {
            total if total >= LARGE_FROM => LARGE,
            total if total >= MEDIUM_FROM => MEDIUM,
            _ => SMALL,
        }
    }

    pub(super) fn record(&mut self, bytes: usize) {
        self.total = self.total.saturating_add(bytes as u64);
    }
}
