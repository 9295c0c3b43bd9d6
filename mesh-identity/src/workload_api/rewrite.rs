//! Makes the `:authority` of HTTP/2 requests one that every HTTP library takes.
//!
//! On a Unix socket, gRPC's Java and C libraries (and so Python, Ruby, C++) send the path of the socket as `:authority`. It
//! is no authority by RFC 3986, and the HTTP/2 library below us resets such streams before any handler of ours sees them.
//! This rewrites the value on the way in, and nothing else.
//!
//! No header is decompressed for it. Header fields (RFC 7541 section 6) are only told apart; where one is a literal of the
//! name `:authority` (index 1 of the static table, or spelt out) its value is replaced in place, in the same representation. A field
//! that the sender adds to its dynamic table is so added at the same place of the receiver's, with the other value, and
//! later references to it find that. The new value is never the longer one, so the receiver's table never drops an entry that
//! the sender still refers to; but for one octet in the place of an empty value, which no library is known to send.

/// The name as it may be spelt out: bare, and in the code of RFC 7541 appendix B.
const NAMES: [&[u8]; 2] = [b":authority", &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f]];

/// The value put in place.
const AUTHORITY: &[u8] = b"localhost";

/// The value for originals that are shorter than that.
const SHORT: &[u8] = b"x";

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Largest frame that a peer may send before it was told otherwise (RFC 9113 section 4.2).
const MAX_FRAME: usize = 16_384;

/// Largest block of header fields that is looked into.
const MAX_BLOCK: usize = 64 * 1024;

/// The bytes of one connection, from client to server.
#[derive(Debug)]
pub struct Rewriter {
    pending: Vec<u8>,
    preface: usize,
    /// Bytes of a frame that goes through untouched, still to come.
    through: usize,
    /// A block of header fields that goes on in the next frame: the flags and stream of its first one, its fields.
    block: Option<(u8, [u8; 4], Vec<u8>)>,
    /// Something was not as expected: from here on everything goes through as it is, and the HTTP library judges it.
    untouched: bool,
}

impl Default for Rewriter {
    fn default() -> Self {
        Self { pending: Vec::new(), preface: PREFACE, through: 0, block: None, untouched: false }
    }
}

impl Rewriter {
    /// Takes bytes of the client; what the server should see is appended to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        for count in [&mut self.preface, &mut self.through] {
            let taken = bytes.len().min(*count);
            out.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            *count -= taken;
        }
        self.pending.extend_from_slice(bytes);
        let mut pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        while let Some(used) = self.frame(&pending[at..], out) {
            at += used;
        }
        pending.drain(..at);
        self.pending = pending;
    }

    /// Takes one frame, or as much of one as can go on; says how many bytes were used.
    fn frame(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if self.untouched {
            out.extend_from_slice(bytes);
            return (!bytes.is_empty()).then_some(bytes.len());
        }
        let header = bytes.get(..FRAME_HEADER)?;
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        let stream = [header[5], header[6], header[7], header[8]];
        let expected = if self.block.is_some() { kind == CONTINUATION } else { kind != CONTINUATION };
        if length > MAX_FRAME || !expected {
            return self.give_up(bytes, out);
        }
        if kind != HEADERS && kind != CONTINUATION {
            let here = bytes.len().min(FRAME_HEADER + length);
            out.extend_from_slice(&bytes[..here]);
            self.through = FRAME_HEADER + length - here;
            return Some(here);
        }
        let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + length)?;
        let used = FRAME_HEADER + length;
        let (first_flags, stream, mut fields) = match self.block.take() {
            Some((first_flags, first_stream, fields)) => (first_flags, first_stream, fields),
            None => (flags, stream, Vec::new()),
        };
        let Some(fragment) = (if kind == HEADERS { fragment(payload, flags) } else { Some(payload) }) else {
            return self.give_up(bytes, out);
        };
        fields.extend_from_slice(fragment);
        if fields.len() > MAX_BLOCK {
            // The frames before are gone; without them the library sees a connection that ends in mid-block.
            return self.give_up(&[], out).or(Some(used));
        }
        if flags & END_HEADERS == 0 {
            self.block = Some((first_flags, stream, fields));
            return Some(used);
        }
        write(&rewritten(&fields).unwrap_or(fields), first_flags, stream, out);
        Some(used)
    }

    fn give_up(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        self.untouched = true;
        out.extend_from_slice(bytes);
        (!bytes.is_empty()).then_some(bytes.len())
    }
}

/// The fields in the payload of a HEADERS frame, without padding and priority.
fn fragment(mut payload: &[u8], flags: u8) -> Option<&[u8]> {
    let mut padding = 0;
    if flags & PADDED != 0 {
        padding = usize::from(*payload.first()?);
        payload = &payload[1..];
    }
    if flags & PRIORITY != 0 {
        payload = payload.get(5..)?;
    }
    payload.get(..payload.len().checked_sub(padding)?)
}

/// Writes a block of header fields as HEADERS and, where it is long, CONTINUATION.
fn write(fields: &[u8], flags: u8, stream: [u8; 4], out: &mut Vec<u8>) {
    let mut chunks = fields.chunks(MAX_FRAME).peekable();
    let mut kind = HEADERS;
    loop {
        let chunk = chunks.next().unwrap_or_default();
        let length = u32::try_from(chunk.len()).unwrap_or_default().to_be_bytes();
        let last = chunks.peek().is_none();
        let kept = if kind == HEADERS { flags & !(PADDED | PRIORITY | END_HEADERS) } else { 0 };
        out.extend_from_slice(&[length[1], length[2], length[3], kind, kept | if last { END_HEADERS } else { 0 }]);
        out.extend_from_slice(&stream);
        out.extend_from_slice(chunk);
        kind = CONTINUATION;
        if last {
            return;
        }
    }
}

/// The fields with another authority; `None` when they are malformed.
fn rewritten(fields: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(fields.len() + AUTHORITY.len());
    let mut rest = fields;
    while let Some(first) = rest.first() {
        let before = rest;
        // Bits of the index's first octet, by representation (RFC 7541 sections 6.1 to 6.3).
        let (bits, literal) = match first {
            0x80.. => (7, false),
            0x40..=0x7f => (6, true),
            0x20..=0x3f => (5, false),
            _ => (4, true),
        };
        let (index, after) = integer(rest, bits)?;
        rest = after;
        if !literal {
            out.extend_from_slice(&before[..before.len() - rest.len()]);
            continue;
        }
        let mut authority = index == 1;
        if index == 0 {
            let (_, name, after) = string(rest)?;
            authority = NAMES.contains(&name);
            rest = after;
        }
        let head = &before[..before.len() - rest.len()];
        let (length, _, after) = string(rest)?;
        out.extend_from_slice(head);
        if authority {
            let value = if length >= AUTHORITY.len() { AUTHORITY } else { SHORT };
            out.push(u8::try_from(value.len()).unwrap_or_default());
            out.extend_from_slice(value);
        } else {
            out.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    Some(out)
}

/// An integer with so many bits in its first octet (RFC 7541 section 5.1).
fn integer(bytes: &[u8], bits: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & mask;
    if value < mask {
        return Some((value, rest));
    }
    for shift in [0, 7, 14, 21] {
        let (next, after) = rest.split_first()?;
        rest = after;
        value += usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

/// A string (RFC 7541 section 5.2): the least length that it has decompressed, its bytes as they came, and what follows.
fn string(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let huffman = bytes.first()? & 0x80 != 0;
    let (length, rest) = integer(bytes, 7)?;
    // No symbol is longer than 30 bits, none shorter than 5; those of a path have 8 at most, but nobody checks that here.
    let least = if huffman { length.saturating_sub(1) * 8 / 30 } else { length };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((least, value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[length[1], length[2], length[3], kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    fn run(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut rewriter, mut out) = (Rewriter::default(), Vec::new());
        rewriter.push(&[b'P'; PREFACE], &mut out);
        for chunk in chunks {
            rewriter.push(chunk, &mut out);
        }
        out.split_off(PREFACE)
    }

    fn literal(head: u8, value: &[u8]) -> Vec<u8> {
        [&[head, u8::try_from(value.len()).unwrap()][..], value].concat()
    }

    #[test]
    fn the_authority_and_nothing_else() {
        // :method POST, :path literal, :authority with and without indexing, an indexed field, a table size update.
        for head in [0x41, 0x01, 0x11] {
            let before =
                [&[0x3f, 0xe1, 0x1f, 0x83][..], &literal(0x44, b"/a"), &literal(head, b"/run/x/api.sock"), &[0xbe]]
                    .concat();
            let after =
                [&[0x3f, 0xe1, 0x1f, 0x83][..], &literal(0x44, b"/a"), &literal(head, b"localhost"), &[0xbe]].concat();
            let data = frame(0, 1, 1, b"body");
            let sent = [frame(4, 0, 0, &[]), frame(HEADERS, END_HEADERS, 1, &before), data.clone()].concat();
            let wanted = [frame(4, 0, 0, &[]), frame(HEADERS, END_HEADERS, 1, &after), data].concat();
            assert_eq!(run(&[&sent]), wanted);
            let bytes: Vec<&[u8]> = sent.chunks(1).collect();
            assert_eq!(run(&bytes), wanted);
        }
        // With the name spelt out, as gRPC's C core does, bare and compressed; and a name that only begins like it.
        for (name, length) in NAMES.into_iter().zip([10, 0x88]) {
            let named = |value: &[u8]| [&[0x40, length][..], name, &literal(0, value)[1..]].concat();
            let sent = frame(HEADERS, END_HEADERS, 1, &named(b"%2Frun%2Fx%2Fapi.sock"));
            assert_eq!(run(&[&sent]), frame(HEADERS, END_HEADERS, 1, &named(b"localhost")));
        }
        let other = [&[0x40, 5][..], b":auth", &literal(0, b"/run/x/api.sock")[1..]].concat();
        let sent = frame(HEADERS, END_HEADERS, 1, &other);
        assert_eq!(run(&[&sent]), sent);
        let short = frame(HEADERS, END_HEADERS, 1, &literal(0x41, b""));
        assert_eq!(run(&[&short]), frame(HEADERS, END_HEADERS, 1, &literal(0x41, b"x")));
    }

    #[test]
    fn blocks_in_pieces_padded_and_with_priority() {
        let fields = [literal(0x41, b"%2Frun%2Fx%2Fapi.sock"), literal(0x44, &[b'a'; 100])].concat();
        let wanted = [literal(0x41, b"localhost"), literal(0x44, &[b'a'; 100])].concat();
        let (one, two) = fields.split_at(10);
        let padded = [&[3, 0, 0, 0, 0, 16][..], one, &[0, 0, 0]].concat();
        let sent =
            [frame(HEADERS, PADDED | PRIORITY | 1, 5, &padded), frame(CONTINUATION, END_HEADERS, 5, two)].concat();
        assert_eq!(run(&[&sent]), frame(HEADERS, END_HEADERS | 1, 5, &wanted));
        let long =
            [literal(0x41, b"/run/x/api.sock"), [&[0x44, 0x7f, 0xa1, 0x9b, 1][..], &vec![b'b'; 20_000]].concat()]
                .concat();
        let (one, two) = long.split_at(16_000);
        let out = run(&[&frame(HEADERS, 0, 7, one), &frame(CONTINUATION, END_HEADERS, 7, two)]);
        assert_eq!(out.len(), long.len() - 6 + 2 * FRAME_HEADER);
    }

    #[test]
    fn what_is_malformed_goes_through_to_be_judged() {
        for sent in [
            frame(CONTINUATION, END_HEADERS, 1, b"x"),
            frame(HEADERS, END_HEADERS, 1, &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]),
            frame(HEADERS, END_HEADERS, 1, &[0x41, 9, b'a']),
            frame(HEADERS, END_HEADERS | PADDED, 1, &[200, 1]),
            frame(0, 0, 1, &vec![0; MAX_FRAME + 1]),
        ] {
            assert_eq!(run(&[&sent]), sent);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in any::<usize>()) {
            let (one, two) = bytes.split_at(at % (bytes.len() + 1));
            prop_assert_eq!(run(&[&bytes]), run(&[one, two]));
        }
    }
}
