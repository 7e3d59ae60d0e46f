//! Fuzz target: any bytes from an HTTP client.

#![no_main]

#[path = "../properties/http.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::http(input));
