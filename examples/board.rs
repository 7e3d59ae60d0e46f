//! Reads what a board printed, as a host does, and checks that nothing of it is lost on the way.
//!
//! Takes two files: the lines of a snapshot, and the same stats as JSON. Every line has to be one, to be written back
//! byte for byte, and to have its member in the JSON. `bin/firmware` gives it what the emulated boards say.

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
            return Err(format!("found {member} in the JSON, expected what the line says: {parsed:?}").into());
        }
        n_lines += 1;
    }
    if back != text {
        return Err("found other bytes than were read when the lines were written back".into());
    }
    if json.len() != n_lines {
        return Err(format!(
            "found {} members in the JSON, expected {n_lines}, as there are lines",
            json.len()
        )
        .into());
    }
    println!("board: {n_lines} lines read back byte for byte, and the JSON says the same");
    Ok(())
}
