//! Replay of the committed fuzz inputs, seeds and regressions, without a fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

#[path = "../../fuzz/properties/collect.rs"]
mod collect;
#[path = "../../fuzz/properties/http.rs"]
mod http;
#[path = "../../fuzz/properties/replay.rs"]
mod replay;

#[test]
fn committed_inputs_of_collect_hold() {
    replay::replay("collect", collect::collect);
}

#[test]
fn committed_inputs_of_http_hold() {
    replay::replay("http", http::http);
}
