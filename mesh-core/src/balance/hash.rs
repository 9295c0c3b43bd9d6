//! The hash functions of Envoy's consistent hashing.

use twox_hash::XxHash64;

use super::policy::HashFunction;

pub(super) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

pub(super) fn hash(function: HashFunction, bytes: &[u8]) -> u64 {
    match function {
        HashFunction::XxHash => xxh64(bytes, 0),
        HashFunction::Murmur2 => murmur2(bytes),
    }
}

/// MurmurHash2 of 64 bits as libstdc++ has it, with its seed.
fn murmur2(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xc70f_6907;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let shift = |value: u64| value ^ (value >> 47);
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let data = shift(u64::from_le_bytes(*word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
        hash = (hash ^ data).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let data = rest.iter().rev().fold(0, |data, byte| (data << 8) | u64::from(*byte));
        hash = (hash ^ data).wrapping_mul(FACTOR);
    }
    shift(shift(hash).wrapping_mul(FACTOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XXH64 as in Envoy's own tests, MurmurHash2 as libstdc++ computes it.
    #[test]
    fn known_values() {
        let table: [(HashFunction, &str, u64); 6] = [
            (HashFunction::XxHash, "foo", 3_728_699_739_546_630_719),
            (HashFunction::XxHash, "bar", 5_234_164_152_756_840_025),
            (HashFunction::Murmur2, "foo", 9_631_199_822_919_835_226),
            (HashFunction::Murmur2, "bar", 11_474_628_671_133_349_555),
            (HashFunction::Murmur2, "abcdefgh", 8_664_279_048_047_335_611),
            (HashFunction::Murmur2, "10.0.0.1:80_17", 4_437_040_220_721_654_695),
        ];
        for (function, text, expected) in table {
            assert_eq!(hash(function, text.as_bytes()), expected, "{function:?} {text}");
        }
    }
}
