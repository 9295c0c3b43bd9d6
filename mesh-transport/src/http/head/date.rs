use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::SystemTime;

use http::HeaderValue;
use mesh_identity::clock::{Clock, SystemClock};

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time now as `date` has it. Written once a second and thread.
pub(super) fn now() -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
    }
    let seconds = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(last, value)| {
        if *last != seconds {
            *last = seconds;
            *value = HeaderValue::from_str(&text(seconds)).unwrap_or(HeaderValue::from_static(""));
        }
        value.clone()
    })
}

/// RFC 9110 section 5.6.7.
fn text(seconds: u64) -> String {
    let (days, time) = (seconds / 86400, seconds % 86400);
    // Years that begin in March have their leap day at the end: 400 of them are 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 2 } else { month - 10 };
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let mut text = String::with_capacity(29);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize]);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    // Writing to a string does not fail.
    let _ = write!(text, "{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT");
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(super::text(seconds), text);
        }
    }
}
