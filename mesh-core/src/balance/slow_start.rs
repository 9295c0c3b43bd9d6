use std::time::Duration;

use super::policy::SlowStart;

/// The share of its weight that an endpoint has after being in use for so long.
pub(super) fn share(settings: &SlowStart, in_use: Duration) -> f64 {
    if in_use >= settings.window {
        return 1.0;
    }
    // Not from zero: an aggression below 1 takes a power of it.
    let elapsed = in_use.max(Duration::from_millis(1)).as_secs_f64() / settings.window.as_secs_f64();
    let share = elapsed.min(1.0).powf(settings.aggression.recip());
    share.max(settings.min_weight_percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_the_least_share_to_one() {
        // Aggression, seconds of a window of 100 s, share.
        let table = [
            (1.0, 0, 0.1),
            (1.0, 9, 0.1),
            (1.0, 50, 0.5),
            (1.0, 100, 1.0),
            (1.0, 1000, 1.0),
            (2.0, 25, 0.5),
            (0.5, 50, 0.25),
        ];
        for (aggression, seconds, expected) in table {
            let settings = SlowStart { aggression, ..SlowStart::new(Duration::from_secs(100)) };
            let share = share(&settings, Duration::from_secs(seconds));
            assert!((share - expected).abs() < 1e-9, "{aggression} after {seconds} s: {share}");
        }
    }
}
