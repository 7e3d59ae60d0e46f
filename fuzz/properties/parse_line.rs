//! Property of `parse_line`: no panic, error offsets inside the input, parse-format-parse stable.

use statvent_core::line::{Line, LineError, MAX_LINE_BYTES, Number, format_line, parse_line as parse};

pub(crate) fn parse_line(input: &[u8]) {
    match parse(input) {
        Ok(line) => {
            let text = format(line);
            if text.len() > MAX_LINE_BYTES + b"\n".len() {
                // A line at the limit may grow when it is formatted: `n:1.` becomes `n: 1.0`.
                assert_eq!(parse(&text), Err(LineError::TooLong));
                return;
            }
            let back = parse(&text).unwrap_or_else(|err| panic!("{err}: {}", text.escape_ascii()));
            assert!(same(line, back), "{line:?} became {back:?}");
            assert_eq!(format(back), text, "a formatted line is formatted the same again");
        }
        Err(LineError::Newline { at } | LineError::NotANumber { at }) => assert!(at <= input.len()),
        Err(_) => {}
    }
}

fn format(line: Line<'_>) -> Vec<u8> {
    let mut text = vec![0; line.name.len() + 4200];
    let n_bytes = format_line(line.name, line.value, &mut text).expect("room for any line");
    text.truncate(n_bytes);
    text
}

fn same(left: Line<'_>, right: Line<'_>) -> bool {
    let same_value = match (left.value, right.value) {
        (Number::Float(left), Number::Float(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (left, right) => left == right,
    };
    left.name == right.name && same_value
}
