//! Replays the committed inputs of the fuzz targets, the seeds and whatever was once found, without a fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

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
