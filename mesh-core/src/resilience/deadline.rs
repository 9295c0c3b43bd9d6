//! Deadlines that are passed on: `grpc-timeout`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Lowers the `grpc-timeout` of a request to the time that is left of it, or that an attempt has if that is less. A request
/// without one gets none.
pub(super) fn pass_on(headers: &mut HeaderMap, expected: Option<Duration>, elapsed: Duration) {
    let Some(given) = crate::route::grpc_timeout(headers) else { return };
    let left = given.saturating_sub(elapsed);
    let left = expected.map_or(left, |expected| expected.min(left));
    headers.insert(GRPC_TIMEOUT, grpc_timeout(left));
}

/// The header's value, rounded down to what eight digits can say.
pub(super) fn grpc_timeout(left: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [
        (left.as_nanos(), 'n'),
        (left.as_micros(), 'u'),
        (left.as_millis(), 'm'),
        (left.as_secs().into(), 'S'),
        (u128::from(left.as_secs() / 60), 'M'),
    ];
    let fits = units.into_iter().find(|(value, _)| *value <= MOST);
    let (value, unit) = fits.unwrap_or_else(|| (u128::from(left.as_secs() / 3600).min(MOST), 'H'));
    HeaderValue::try_from(format!("{value}{unit}")).unwrap_or_else(|_| HeaderValue::from_static("0n"))
}
