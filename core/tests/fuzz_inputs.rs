//! Replay of the committed inputs of the fuzz targets: seeds and earlier findings, without a fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]

#[path = "../../fuzz/properties/parse_line.rs"]
mod parse_line;
#[path = "../../fuzz/properties/registry.rs"]
mod registry;
#[path = "../../fuzz/properties/replay.rs"]
mod replay;
#[path = "../../fuzz/properties/split_lines.rs"]
mod split_lines;

#[test]
fn committed_inputs_of_parse_line_hold() {
    replay::replay("parse_line", parse_line::parse_line);
}

#[test]
fn committed_inputs_of_split_lines_hold() {
    replay::replay("split_lines", split_lines::split_lines);
}

#[test]
fn committed_inputs_of_registry_hold() {
    replay::replay("registry", registry::registry);
}
