//! The few DER structures (X.690) of which a certificate is assembled.
//!
//! Certificates are put together here, and not by a library, for one reason: the issuer's name must be the signing
//! certificate's subject byte for byte. A library that keeps a name as a map writes repeated parts (two organisational
//! units, domain components) in another form, and path validation then finds no issuer.

use std::time::SystemTime;

use x509_parser::time::ASN1Time;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// One value: tag, length, content.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        short @ 0..=0x7f => der.push(u8::try_from(short).unwrap_or(0)),
        long => {
            let bytes = long.to_be_bytes();
            let significant = significant(&bytes);
            der.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
            der.extend(significant);
        }
    }
    der.extend(content);
    der
}

/// Takes the first value off: its tag, its content, and what follows. Lengths are definite, as DER has them.
pub(crate) fn take(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// A sequence of values that are encoded already.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// A bit string of whole bytes.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes].concat())
}

/// A number without its leading zeros; nothing, for zero.
pub(crate) fn significant(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte != 0).map_or(&[], |first| &bytes[first..])
}

/// A positive integer, or zero.
pub(crate) fn positive_integer(bytes: &[u8]) -> Vec<u8> {
    let bytes = significant(bytes);
    let sign: &[u8] = if bytes.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    value(INTEGER, &[sign, bytes].concat())
}

/// Both integers of an ECDSA signature (RFC 3279 section 2.2.3), without leading zeros.
pub(crate) fn ecdsa_integers(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let (SEQUENCE, content, []) = take(signature)? else { return None };
    let (INTEGER, r, rest) = take(content)? else { return None };
    let (INTEGER, s, []) = take(rest)? else { return None };
    Some((significant(r), significant(s)))
}

/// A certificate extension (RFC 5280 section 4.2) of an object identifier's content bytes.
pub(crate) fn extension(identifier: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let identifier = value(OBJECT_IDENTIFIER, identifier);
    let flag: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    sequence(&[&identifier, flag, &value(OCTET_STRING, content)])
}

/// A time: UTCTime to 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5).
pub(crate) fn time(time: SystemTime) -> Option<Vec<u8>> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let time = ASN1Time::from_timestamp(i64::try_from(seconds).ok()?).ok()?.to_datetime();
    let (date, hour, minute, second) = (time.date(), time.hour(), time.minute(), time.second());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let clock = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    Some(if year < 2050 {
        value(UTC_TIME, format!("{:02}{clock}", year.rem_euclid(100)).as_bytes())
    } else {
        value(GENERALIZED_TIME, format!("{year:04}{clock}").as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lengths() {
        for (content, head) in
            [(0_usize, vec![4, 0]), (127, vec![4, 127]), (128, vec![4, 0x81, 128]), (300, vec![4, 0x82, 1, 44])]
        {
            let der = value(OCTET_STRING, &vec![7; content]);
            assert_eq!(&der[..head.len()], head);
            assert_eq!(der.len(), head.len() + content);
            assert_eq!(take(&[&der[..], b"x"].concat()), Some((OCTET_STRING, &vec![7; content][..], &b"x"[..])));
            assert_eq!(take(&der[..der.len() - usize::from(content > 0)]).is_some(), content == 0);
        }
    }

    #[test]
    fn integers_are_positive_and_short() {
        assert_eq!(positive_integer(&[0x7f]), [2, 1, 0x7f]);
        assert_eq!(positive_integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(positive_integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(positive_integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(positive_integer(&[]), [2, 1, 0]);
    }

    #[test]
    fn integers_of_a_signature() {
        let signature = sequence(&[&positive_integer(&[0x80, 1]), &positive_integer(&[7])]);
        assert_eq!(ecdsa_integers(&signature), Some((&[0x80, 1][..], &[7][..])));
        for length in 0..signature.len() {
            assert_eq!(ecdsa_integers(&signature[..length]), None);
        }
        assert_eq!(ecdsa_integers(&[&signature[..], &[0]].concat()), None);
        let three = sequence(&[&positive_integer(&[1]), &positive_integer(&[2]), &positive_integer(&[3])]);
        assert_eq!(ecdsa_integers(&three), None);
    }

    #[test]
    fn times_on_both_sides_of_2050() {
        let at = |seconds| time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        assert_eq!(at(0), [&[0x17, 13][..], b"700101000000Z"].concat());
        assert_eq!(at(2_524_607_999), [&[0x17, 13][..], b"491231235959Z"].concat());
        assert_eq!(at(2_524_608_000), [&[0x18, 15][..], b"20500101000000Z"].concat());
    }
}
