//! A line is read without panic, and what is written of it reads back the same.

#![no_main]

#[path = "../properties/parse_line.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::parse_line(input));
