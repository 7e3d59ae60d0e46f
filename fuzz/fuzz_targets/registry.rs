//! Fuzz target: any sequence of calls on a registry.

#![no_main]

#[path = "../properties/registry.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::registry(input));
