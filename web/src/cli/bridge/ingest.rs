//! Line ingest: turns the bytes of a board into stats, and counts the lines that it skips.
//!
//! Owns the rules for an unreliable wire, which can lose or add bytes and can be joined at any moment. Reading is in `input`.

use statvent_core::line::{Line, LineError, LineSplitter, Number, parse_line};
use statvent_core::name::REJECTED_NAME;
use statvent_core::{Counter, Registry, Value};

/// The registry of a bridge. All names come from the wire; a stat that does not fit is skipped and counted.
pub(super) type BoardRegistry = Registry<4096, 0, { 256 * 1024 }>;

/// The prefix of the bridge's own stats, which a board cannot set.
const OWN_PREFIX: &[u8] = b"bridge.";
const LINES_TAKEN: &str = "bridge.lines_taken";
const LINES_SKIPPED: &str = "bridge.lines_skipped";

/// The separator of name and value, which no name of a board may contain.
const SEPARATOR: &[u8] = b": ";

/// The name for the board's `statvent.rejected`: the original name belongs to the registry of this process.
const BOARD_REJECTED: &[u8] = b"bridge.board_rejected";

/// Splits bytes into lines and stores the last value of each name.
///
/// Every line counts as taken or as skipped, except blank ones: some terminals turn one CRLF into two line ends.
pub(super) struct LineIngest<'r> {
    stats: &'r BoardRegistry,
    taken: Counter<'r>,
    skipped: Counter<'r>,
    splitter: LineSplitter,
    /// The next line may be the second half of one.
    is_mid_line: bool,
}

impl<'r> LineIngest<'r> {
    /// Starts at the first byte of a line, or at any byte if `starts_mid_line` is set.
    ///
    /// In the second case the first line is skipped: it may be half a line that parses as a whole one.
    pub(super) fn new(stats: &'r BoardRegistry, starts_mid_line: bool) -> Self {
        let (taken, skipped) = (stats.counter(LINES_TAKEN), stats.counter(LINES_SKIPPED));
        Self { stats, taken, skipped, splitter: LineSplitter::new(), is_mid_line: starts_mid_line }
    }

    /// Processes the next bytes; chunks may end anywhere.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        let Self { stats, taken, skipped, splitter, is_mid_line } = self;
        splitter.feed(chunk, |line| {
            let is_half = std::mem::take(is_mid_line);
            match line.and_then(parse_line) {
                Err(LineError::Blank) => {}
                Ok(line) if !is_half && store(stats, line).is_some() => taken.incr(1),
                _ => skipped.incr(1),
            }
        });
    }
}

/// Stores the value of a line; `None` if it cannot be a stat of a board, or the registry is full.
fn store(stats: &BoardRegistry, line: Line<'_>) -> Option<()> {
    let value = match line.value {
        Number::Int(int) => Value::Int(int),
        Number::Float(float) => Value::Float(float),
        Number::BigInt(_) => return None,
    };
    let name = match line.name {
        REJECTED_NAME => BOARD_REJECTED,
        name if name.starts_with(OWN_PREFIX) || !is_text(name) || contains_separator(name) => return None,
        name => name,
    };
    stats.try_set(name, value).ok()
}

/// Returns whether a name is text.
///
/// Names may be any bytes. But noise on a wire is mostly control bytes and broken UTF-8, and a name is never removed once it
/// was published.
fn is_text(name: &[u8]) -> bool {
    core::str::from_utf8(name).is_ok_and(|name| !name.contains(char::is_control))
}

/// Returns whether a name contains the separator, as `a: 5a` does.
///
/// Such a name is half a line and a whole one: the board was reset after `a: 5`, and sent `a: 1` next.
fn contains_separator(name: &[u8]) -> bool {
    name.windows(SEPARATOR.len()).any(|bytes| bytes == SEPARATOR)
}

#[cfg(test)]
mod tests {
    //! Properties: every line that is not blank counts as taken or as skipped; the stats equal those of a naive
    //! implementation; neither depends on how the bytes are cut into chunks; noise never panics.

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Shown = BTreeMap<Vec<u8>, String>;

    fn shown(stats: &BoardRegistry) -> Shown {
        let mut shown = Shown::new();
        stats.for_each(|name, value| _ = shown.insert(name.to_vec(), format!("{value:?}")));
        shown
    }

    fn ingest_all<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Shown {
        let stats = Box::new(BoardRegistry::new());
        let mut ingest = LineIngest::new(&stats, false);
        chunks.into_iter().for_each(|chunk| ingest.feed(chunk));
        shown(&stats)
    }

    fn expect(stats: &[(&str, &str)]) -> Shown {
        stats.iter().map(|(name, value)| (name.as_bytes().to_vec(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_last_value_of_each_name_is_kept_for_every_kind_of_number() {
        let bytes = b"a: 1\nb: 0.5\r\nc{q=\"x:y\"}: -3\na: 2\n a :7\nrest";
        let expected = expect(&[
            ("a", "Int(7)"),
            ("b", "Float(0.5)"),
            ("c{q=\"x:y\"}", "Int(-3)"),
            (LINES_TAKEN, "Int(5)"),
            (LINES_SKIPPED, "Int(0)"),
        ]);
        assert_eq!(ingest_all([&bytes[..]]), expected);
    }

    #[test]
    fn lines_without_a_stat_are_skipped_and_counted() {
        for line in [
            &b"booting v1.2"[..],
            b"rst:0x1 (POWERON)",
            b": 1",
            b"a:",
            b"\0\0a: 1",
            b"a\0b: 1",
            b"\x1b[32ma: 1",
            b"a\x80\xff: 1",
            b"a: 9223372036854775808",
            b"statvent.mine: 1",
            b"bridge.lines_skipped: 1000",
            &[b'n'; 256 + 3],
            &[b'n'; 5000],
            &[&[b'n'; 256][..], b": 1"].concat(),
        ] {
            let text = [line, b"\n"].concat();
            let expected = expect(&[(LINES_TAKEN, "Int(0)"), (LINES_SKIPPED, "Int(1)")]);
            assert_eq!(ingest_all([&text[..]]), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn blank_lines_count_as_nothing() {
        let expected = expect(&[(LINES_TAKEN, "Int(0)"), (LINES_SKIPPED, "Int(0)")]);
        assert_eq!(ingest_all([&b"\n\r\n \t \n"[..]]), expected);
    }

    #[test]
    fn the_rejected_count_of_the_board_is_shown() {
        let expected = expect(&[
            ("bridge.board_rejected", "Int(3)"),
            (LINES_TAKEN, "Int(1)"),
            (LINES_SKIPPED, "Int(0)"),
        ]);
        assert_eq!(ingest_all([&b"statvent.rejected: 3\n"[..]]), expected);
    }

    #[test]
    fn a_reset_board_starts_again_and_its_half_line_is_skipped() {
        let expected =
            expect(&[("a", "Int(1)"), ("b", "Int(70)"), (LINES_TAKEN, "Int(3)"), (LINES_SKIPPED, "Int(1)")]);
        assert_eq!(ingest_all([&b"a: 500\nb: 70\na: 5"[..], b"\0boot v1\r\na: 1\r\n"]), expected);
    }

    /// 1. A board sends `a: 500`, and starts to send it again.
    /// 2. It is reset in the middle of that line, and prints no banner.
    /// 3. It starts again, and its first line completes the half one.
    #[test]
    fn a_board_that_is_reset_without_a_banner_forges_no_stat() {
        let expected = expect(&[("a", "Int(2)"), (LINES_TAKEN, "Int(2)"), (LINES_SKIPPED, "Int(1)")]);
        assert_eq!(ingest_all([&b"a: 500\r\na: 5"[..], b"a: 1\r\na: 2\r\n"]), expected);
    }

    #[test]
    fn the_first_line_is_skipped_when_joined_mid_line() {
        let stats = Box::new(BoardRegistry::new());
        let mut ingest = LineIngest::new(&stats, true);
        ingest.feed(b"quests: 1\nrequests: 2\n");
        let expected = expect(&[("requests", "Int(2)"), (LINES_TAKEN, "Int(1)"), (LINES_SKIPPED, "Int(1)")]);
        assert_eq!(shown(&stats), expected);
    }

    #[test]
    fn names_beyond_the_capacity_are_skipped_and_known_ones_are_updated() {
        let stats = Box::new(BoardRegistry::new());
        let mut ingest = LineIngest::new(&stats, false);
        for n in 0..5000 {
            ingest.feed(format!("name.{n}: {n}\n").as_bytes());
        }
        ingest.feed(b"name.0: 77\n");
        let n_names = 4096 - 2;
        assert_eq!(stats.get("name.0"), Some(Value::Int(77)));
        assert_eq!(stats.get(LINES_TAKEN), Some(Value::Int(n_names + 1)));
        assert_eq!(stats.get(LINES_SKIPPED), Some(Value::Int(5000 - n_names)));
        assert_eq!(stats.rejected(), 0, "counted once, as skipped lines");
    }

    /// Input from a wire: stats, banners, noise.
    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[ab]: (-?[0-9]{1,20}|[0-9]\\.[0-9])\r?\n".prop_map(String::into_bytes),
            1 => "[a-c: \r\n]{0,12}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..12),
            1 => Just(vec![b'x'; 5000]),
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    /// A naive implementation, on the whole text and a map.
    fn naive(bytes: &[u8]) -> Shown {
        let (mut shown, mut n_taken, mut n_skipped) = (Shown::new(), 0, 0);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            if line.len() <= 4097 && line.iter().all(|byte| b" \t\n\x0b\x0c\r".contains(byte)) {
                continue;
            }
            match naive_stat(line) {
                Some((name, value)) => {
                    n_taken += 1;
                    // A stat that was a float stays one.
                    let was_float = shown.get(&name).is_some_and(|value| value.starts_with("Float"));
                    let value = if was_float { Value::Float(value.as_f64()) } else { value };
                    shown.insert(name, format!("{value:?}"));
                }
                None => n_skipped += 1,
            }
        }
        // A line is skipped as soon as it is too long, before its end.
        n_skipped += i64::from(bytes.len() - whole > 4096);
        shown.insert(LINES_TAKEN.into(), format!("{:?}", Value::Int(n_taken)));
        shown.insert(LINES_SKIPPED.into(), format!("{:?}", Value::Int(n_skipped)));
        shown
    }

    fn naive_stat(line: &[u8]) -> Option<(Vec<u8>, Value)> {
        let text = str::from_utf8(line).ok().filter(|text| text.len() <= 4097)?;
        let spaces = &[' ', '\t', '\n', '\x0b', '\x0c', '\r'][..];
        let (name, value) = text.trim_end_matches('\n').rsplit_once(':')?;
        let (name, value) = (name.trim_matches(spaces), value.trim_matches(spaces));
        if !(1..=255).contains(&name.len()) || name.chars().any(char::is_control) || name.contains(": ") {
            return None;
        }
        let is_int =
            value.strip_prefix(['+', '-']).unwrap_or(value).bytes().all(|byte| byte.is_ascii_digit());
        let value =
            if is_int { value.parse().map(Value::Int).ok() } else { value.parse().map(Value::Float).ok() };
        Some((name.as_bytes().to_vec(), value?))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_input_reads_as_a_naive_implementation_reads_it_in_any_chunks(bytes in wire(), n in 1..5000usize) {
            let expected = naive(&bytes);
            prop_assert_eq!(&ingest_all([&bytes[..]]), &expected);
            prop_assert_eq!(&ingest_all(bytes.chunks(n)), &expected);
        }
    }
}
