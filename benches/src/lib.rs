//! What the project claims about speed, measured as ratios in one run: see the programs in `benches/`. Here is what several
//! of them need.

/// The value in the middle; of an even count, the upper of the two. Zero for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
