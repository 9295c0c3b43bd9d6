//! Fuzz targets: one function per decoder that reads bytes from a peer, a node agent, an application or a file. A target
//! checks what must hold of every input; beyond that it must neither panic nor take memory without bound.
//!
//! `cargo test -p mesh-fuzz` runs each for a moment, from seeds. `cargo run --release -p mesh-fuzz -- TARGET SECONDS` goes
//! on for as long as one likes. A coverage-guided fuzzer calls [`TARGETS`] as they are: each takes bytes.

#![expect(clippy::panic, reason = "a target that finds something says so")]

mod http;
mod identity;
mod manifests;
mod proxy;
mod requests;
mod routing;
mod targets;
mod xds;

pub use targets::TARGETS;

/// A decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Inputs that it understands, to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs a target on changed seeds. `each` is told of every input before it is tried.
pub fn fuzz(target: &Target, seed: u64, rounds: u64, mut each: impl FnMut(&[u8])) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut corpus = (target.seeds)();
    corpus.push(Vec::new());
    for known in &corpus {
        each(known);
        (target.run)(known);
    }
    for _ in 0..rounds {
        let mut input = corpus[random.usize(..corpus.len())].clone();
        for _ in 0..random.usize(1..6) {
            mutate(&mut input, &corpus, &mut random);
        }
        each(&input);
        (target.run)(&input);
        // Without coverage to go by, a few changed inputs become seeds by chance, so that changes add up.
        if random.u32(..1000) == 0 && input.len() < 8192 && corpus.len() < 256 {
            corpus.push(input);
        }
    }
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut fastrand::Rng) {
    const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'/', b':'];
    let at = random.usize(..=input.len());
    match random.u32(..8) {
        0 => input.insert(at, random.u8(..)),
        1 => input.insert(at, EDGES[random.usize(..EDGES.len())]),
        2 if at < input.len() => input[at] = random.u8(..),
        3 if at < input.len() => input[at] ^= 1 << random.u32(..8),
        4 if at < input.len() => {
            let end = random.usize(at..=input.len());
            input.drain(at..end);
        }
        5 => input.truncate(at),
        6 if at < input.len() => {
            // A part of itself again.
            let end = (at + random.usize(..64)).min(input.len());
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        _ => {
            let other = &corpus[random.usize(..corpus.len())];
            if !other.is_empty() {
                let from = random.usize(..other.len());
                let end = (from + random.usize(..64)).min(other.len());
                input.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    input.truncate(1 << 16);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_target_finds_anything() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            // From a fixed seed, so that a find can be found again.
            fuzz(target, 1, 4_000, |_| {});
        }
    }
}
