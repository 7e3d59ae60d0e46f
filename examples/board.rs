//! A check of a board's output: its lines parse, format back to equal bytes, and match its JSON.
//!
//! Takes two files: the lines of a snapshot, and the same stats as JSON. `bin/firmware` runs it on the output of the
//! emulated boards.

use std::error::Error;
use std::{env, fs};

use statvent::line::{MAX_OWN_LINE_BYTES, Number, format_line, parse_line};

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = env::args().skip(1);
    let mut read =
        || Ok::<_, Box<dyn Error>>(fs::read(paths.next().ok_or("expected two files: text and JSON")?)?);
    let (text, json) = (read()?, read()?);
    let json: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&json)?;

    let mut n_lines = 0;
    let mut back = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let parsed = parse_line(line)?;
        let mut out = [0; MAX_OWN_LINE_BYTES];
        let n_bytes = format_line(parsed.name, parsed.value, &mut out)?;
        back.extend_from_slice(&out[..n_bytes]);

        let name = str::from_utf8(parsed.name)?;
        let member = json.get(name).ok_or_else(|| format!("found no {name:?} in the JSON"))?;
        let is_same = match parsed.value {
            Number::Int(int) => member.as_i64() == Some(int),
            Number::Float(float) => member.as_f64() == Some(float),
            _ => false,
        };
        if !is_same {
            return Err(
                format!("found {member} in the JSON, expected the value of the line: {parsed:?}").into()
            );
        }
        n_lines += 1;
    }
    if back != text {
        return Err(
            "found other bytes after formatting the parsed lines, expected the text that was read".into()
        );
    }
    if json.len() != n_lines {
        return Err(
            format!("found {} members in the JSON, expected {n_lines}, one per line", json.len()).into()
        );
    }
    println!("board: {n_lines} lines format back byte for byte and match the JSON");
    Ok(())
}
