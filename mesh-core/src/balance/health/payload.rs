/// Whether all parts stand in what was received, in this order, with anything between.
pub(super) fn holds(received: &[u8], parts: &[Vec<u8>]) -> bool {
    let mut rest = received;
    parts.iter().all(|part| match find(rest, part) {
        Some(end) => {
            rest = &rest[end..];
            true
        }
        None => false,
    })
}

/// Where the first occurrence of a part ends.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    match part.len() {
        0 => Some(0),
        length => bytes.windows(length).position(|window| window == part).map(|start| start + length),
    }
}
