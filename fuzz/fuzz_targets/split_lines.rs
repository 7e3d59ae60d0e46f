//! Fuzz target: any stream in any chunks for the line splitter.

#![no_main]

#[path = "../properties/split_lines.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::split_lines(input));
