//! A stream gives the same lines however it is cut into chunks.

#![no_main]

#[path = "../properties/split_lines.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::split_lines(input));
