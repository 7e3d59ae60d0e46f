//! Fuzz target: any line for the parser.

#![no_main]

#[path = "../properties/parse_line.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::parse_line(input));
