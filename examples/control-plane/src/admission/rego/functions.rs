//! Functions of OPA in the place of the evaluator's own: those need a standard library that brings a clock and chance, or make of
//! a short argument what fills the memory.

use std::net::IpAddr;

use ipnet::IpNet;
use regorus::Value;

/// Longest range of numbers.
const MAX_RANGE: u64 = 100_000;

/// A function: what it gives, or `None` where it will not do what it is asked for.
type Function = fn(&[Value]) -> Option<Value>;

/// Name, number of arguments, function.
pub(super) const FUNCTIONS: [(&str, u8, Function); 5] = [
    ("numbers.range", 2, range),
    ("numbers.range_step", 3, |_| None),
    ("bits.lsh", 2, |_| None),
    ("net.cidr_contains", 2, cidr_contains),
    ("net.cidr_is_valid", 1, cidr_is_valid),
];

fn range(arguments: &[Value]) -> Option<Value> {
    let [first, last] = arguments else { return None };
    let (Ok(first), Ok(last)) = (first.as_i64(), last.as_i64()) else { return Some(Value::Undefined) };
    if first.abs_diff(last) >= MAX_RANGE {
        return None;
    }
    let numbers: Vec<Value> = match first <= last {
        true => (first..=last).map(Value::from).collect(),
        false => (last..=first).rev().map(Value::from).collect(),
    };
    Some(Value::from(numbers))
}

/// Whether the first, a range, has all addresses of the second, a range or an address.
fn cidr_contains(arguments: &[Value]) -> Option<Value> {
    let text = |index: usize| arguments.get(index).and_then(|value| value.as_string().ok());
    let range = text(0).and_then(|text| text.parse::<IpNet>().ok());
    let other = text(1).and_then(|text| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)));
    Some(match (range, other) {
        (Some(range), Some(other)) => Value::from(range.contains(&other)),
        _ => Value::Undefined,
    })
}

fn cidr_is_valid(arguments: &[Value]) -> Option<Value> {
    let text = arguments.first()?.as_string();
    Some(Value::from(text.is_ok_and(|text| text.parse::<IpNet>().is_ok())))
}
