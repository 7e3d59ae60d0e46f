//! What several processes say is summed as a simple model does, however their pipes give it, in bounded memory.

#![no_main]

#[path = "../properties/collect.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::collect(input));
