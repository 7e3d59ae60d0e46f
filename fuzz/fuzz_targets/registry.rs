//! A registry and a plain list, given the same calls, tell the same.

#![no_main]

#[path = "../properties/registry.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::registry(input));
