use super::limits::CHUNK_HEAD_BYTES;

/// Follows where the messages of an HTTP/1.1 connection begin and end, beside hyper, and refuses what two readers may see
/// differently. Hyper drops a `content-length` beside `transfer-encoding`, takes lines that end without CR, and tells of
/// neither.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    head: Head,
    /// The beginning of the line that is read, as far as it came before.
    line: Line,
}

/// Two readers may disagree on where a request ends, or on what it says (RFC 9112 section 11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Desync {
    /// Its length is given twice over.
    #[error("content-length and transfer-encoding in one request")]
    BothLengths,
    /// More than one `content-length`.
    #[error("several content-length headers")]
    SeveralLengths,
    /// A length that is not a number of digits.
    #[error("content-length is no number")]
    Length,
    /// A line ends with LF alone.
    #[error("a line ends without CR")]
    BareLineFeed,
    /// A line that continues the one before.
    #[error("a folded header")]
    Fold,
    /// The head of a chunk is not a hexadecimal number, is too long, or its data does not end where it says.
    #[error("a malformed chunk")]
    Chunk,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// Between messages; empty lines are skipped.
    #[default]
    Idle,
    Head,
    Body(u64),
    ChunkHead,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// The connection may change protocols, which the answer decides.
    Undecided,
    /// Bytes that came before that was decided, so that nobody knows where the next message begins.
    Unknown,
}

#[derive(Debug, Default, Clone, Copy)]
struct Head {
    length: Option<u64>,
    is_chunked: bool,
    may_switch: bool,
}

/// Enough for every name and value that is looked at.
const KEPT: usize = 80;

#[derive(Debug)]
struct Line {
    kept: [u8; KEPT],
    length: usize,
    last: u8,
}

impl Default for Line {
    fn default() -> Self {
        Self { kept: [0; KEPT], length: 0, last: 0 }
    }
}

impl Framing {
    /// Whether a head has begun and not ended.
    pub(super) const fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head) || (matches!(self.state, State::Idle) && self.line.length > 0)
    }

    /// Follows the next bytes.
    ///
    /// # Errors
    /// They are to be refused, from the line on whose beginning is told.
    pub(super) fn feed(&mut self, all: &[u8]) -> Result<(), (usize, Desync)> {
        let mut bytes = all;
        while !bytes.is_empty() {
            match self.state {
                State::Undecided | State::Unknown => {
                    self.state = State::Unknown;
                    return Ok(());
                }
                State::Body(left) => bytes = self.skip(bytes, left, State::Body, State::Idle),
                State::ChunkData(left) => bytes = self.skip(bytes, left, State::ChunkData, State::ChunkEnd),
                State::Idle | State::Head | State::ChunkHead | State::ChunkEnd | State::Trailers => {
                    bytes = self.lines(bytes).map_err(|desync| (all.len() - bytes.len(), desync))?;
                }
            }
        }
        Ok(())
    }

    /// The connection goes on with HTTP/1.1.
    pub(super) fn stays(&mut self) {
        if matches!(self.state, State::Undecided) {
            self.state = State::Idle;
        }
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> State, end: State) -> &'a [u8] {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - taken as u64;
        self.state = if left == 0 { end } else { more(left) };
        &bytes[taken..]
    }

    /// Takes bytes to the end of a line, or all.
    fn lines<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Desync> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.keep(bytes);
            if matches!(self.state, State::ChunkHead | State::ChunkEnd) && self.line.length > CHUNK_HEAD_BYTES {
                return Err(Desync::Chunk);
            }
            return Ok(&[]);
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if self.line.length == 0 {
            let line = line.strip_suffix(b"\r").ok_or(Desync::BareLineFeed)?;
            self.line_ended(line, line.len())?;
        } else {
            self.line.keep(line);
            let kept = std::mem::take(&mut self.line);
            if kept.last != b'\r' {
                return Err(Desync::BareLineFeed);
            }
            let length = kept.length - 1;
            self.line_ended(&kept.kept[..length.min(KEPT)], length)?;
        }
        Ok(rest)
    }

    /// `line` is its beginning, `length` that of the whole.
    fn line_ended(&mut self, line: &[u8], length: usize) -> Result<(), Desync> {
        match self.state {
            State::Idle if length == 0 => {}
            State::Idle => {
                self.head = Head { may_switch: line.starts_with(b"CONNECT "), ..Head::default() };
                self.state = State::Head;
            }
            State::Head if length == 0 => {
                self.state = match (self.head.length, self.head.is_chunked) {
                    (Some(_), true) => return Err(Desync::BothLengths),
                    (_, true) => State::ChunkHead,
                    (Some(length), _) if length > 0 => State::Body(length),
                    _ if self.head.may_switch => State::Undecided,
                    _ => State::Idle,
                };
            }
            State::Head => self.header(line)?,
            State::ChunkHead => {
                self.state = match chunk_size(line, length)? {
                    0 => State::Trailers,
                    size => State::ChunkData(size),
                };
            }
            State::ChunkEnd if length == 0 => self.state = State::ChunkHead,
            State::ChunkEnd => return Err(Desync::Chunk),
            State::Trailers if length == 0 => self.state = State::Idle,
            State::Trailers if line.starts_with(b" ") || line.starts_with(b"\t") => return Err(Desync::Fold),
            State::Trailers | State::Body(_) | State::ChunkData(_) | State::Undecided | State::Unknown => {}
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Desync> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Desync::Fold);
        }
        // Few headers begin with these, and most are told apart by their first byte.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T' | b'u' | b'U')) {
            return Ok(());
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.head.length.is_some() {
                return Err(Desync::SeveralLengths);
            }
            self.head.length = Some(number(value).ok_or(Desync::Length)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.head.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.head.may_switch = true;
        }
        Ok(())
    }
}

impl Line {
    fn keep(&mut self, bytes: &[u8]) {
        let at = self.length.min(KEPT);
        let taken = bytes.len().min(KEPT - at);
        self.kept[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.length += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

fn chunk_size(line: &[u8], length: usize) -> Result<u64, Desync> {
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    let digits = &line[..end];
    let is_sound = length <= CHUNK_HEAD_BYTES
        && !digits.is_empty()
        && digits.len() <= 16
        && digits.iter().all(u8::is_ascii_hexdigit)
        && !line.contains(&b'\r');
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_sound).ok_or(Desync::Chunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| Desync::Chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Desync, Framing};

    fn whole(bytes: &[u8]) -> Result<(), Desync> {
        Framing::default().feed(bytes).map_err(|(_, desync)| desync)
    }

    #[test]
    fn a_refusal_is_told_from_the_beginning_of_its_line() {
        for (bytes, kept, desync) in [
            ("GET / HTTP/1.1\r\nhost: a\n", 16, Desync::BareLineFeed),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n", 36, Desync::SeveralLengths),
            ("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nabGET / HTTP/1.1\r\n x: y\r\n", 56, Desync::Fold),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nx\r\n", 53, Desync::Chunk),
        ] {
            assert_eq!(Framing::default().feed(bytes.as_bytes()), Err((kept, desync)), "{bytes}");
        }
    }

    #[test]
    fn heads_are_found_wherever_messages_end() {
        let messages = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\na\nb\n\
            cPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nx: y\r\n\r\n\
            GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(whole(messages.as_bytes()), Ok(()));
        let mut framing = Framing::default();
        framing.feed(messages.as_bytes()).unwrap();
        assert!(!framing.is_in_head());
        framing.feed(b"G").unwrap();
        assert!(framing.is_in_head());
    }

    #[test]
    fn an_upgrade_that_does_not_come_about_changes_nothing() {
        let ask = b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n\r\n";
        let mut framing = Framing::default();
        framing.feed(ask).unwrap();
        framing.stays();
        assert_eq!(framing.feed(b"GET / HTTP/1.1\n"), Err((0, Desync::BareLineFeed)));

        // What came too early may be of another protocol.
        let mut framing = Framing::default();
        framing.feed(ask).unwrap();
        framing.feed(b"\x16\x03\n").unwrap();
        framing.stays();
        framing.feed(b"\n").unwrap();
    }

    proptest! {
        #[test]
        fn bytes_mean_the_same_in_pieces(
            lines in proptest::collection::vec(prop_oneof![
                Just("GET / HTTP/1.1\r\n".to_owned()),
                Just("content-length: 3\r\n".to_owned()),
                Just("transfer-encoding: chunked\r\n".to_owned()),
                Just("\r\n".to_owned()),
                Just("\n".to_owned()),
                Just("3\r\nabc\r\n".to_owned()),
                Just("0\r\n".to_owned()),
                Just("abc".to_owned()),
                "[ -~\r\n]{0,100}",
            ], 0..12),
            cuts in proptest::collection::vec(1..40_usize, 0..30),
        ) {
            let bytes = lines.concat().into_bytes();
            let mut framing = Framing::default();
            let mut rest = &bytes[..];
            let mut found = Ok(());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                found = found.and_then(|()| framing.feed(piece).map_err(|(_, desync)| desync));
            }
            found = found.and_then(|()| framing.feed(rest).map_err(|(_, desync)| desync));
            prop_assert_eq!(found, whole(&bytes));
        }
    }
}
