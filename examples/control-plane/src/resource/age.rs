use std::time::Duration;

/// The time since 1970 that an RFC 3339 text in UTC says, to the second, as Kubernetes writes it: `2026-01-31T12:00:00Z`.
pub(super) fn since_1970(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let [year, month, day] = numbers(date, '-')?;
    let [hours, minutes, seconds] = numbers(time, ':')?;
    let good = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !good || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // Years begin in March here, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    const DAYS_TO_1970: u64 = 719_468;
    Some(Duration::from_secs((days - DAYS_TO_1970) * 86_400 + hours * 3_600 + minutes * 60 + seconds))
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let mut parts = text.split(between).map(|part| part.parse().ok().filter(|_| part.len() <= 4));
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:01Z", Some(951_825_601)),
            ("2026-11-21T14:30:00.123Z", Some(1_795_271_400)),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-01T00:00:00+01:00", None),
            ("2026-01-01", None),
            ("", None),
            ("1969-12-31T23:59:59Z", None),
        ] {
            assert_eq!(since_1970(text).map(|since| since.as_secs()), seconds, "{text}");
        }
    }
}
