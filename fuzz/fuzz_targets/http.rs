//! Whatever a client sends, the service answers in good form and ends.

#![no_main]

#[path = "../properties/http.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::http(input));
