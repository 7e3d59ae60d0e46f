//! Fuzz target: any bytes from several processes, in any chunks.

#![no_main]

#[path = "../properties/collect.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::collect(input));
