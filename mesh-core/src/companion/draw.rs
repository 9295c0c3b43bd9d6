use crate::filter::Exchange;
use crate::route::Fraction;

/// What a filter decides by chance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
    Enabled = 1,
    Enforced,
    FailureDenied,
}

/// Whether chance takes a request; everything, if nothing is said.
///
/// The number of an exchange has chosen its route already. Each decision has a number of its own, mixed out of it: otherwise
/// all requests of a route that takes a fraction would be taken, or none.
pub(super) fn takes(fraction: Option<Fraction>, exchange: &Exchange, draw: Draw) -> bool {
    fraction.is_none_or(|fraction| {
        // The finalizer of SplitMix64.
        let mut mixed = exchange.random.wrapping_add((draw as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        fraction.takes(mixed ^ (mixed >> 31))
    })
}
