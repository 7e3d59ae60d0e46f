//! Replays the committed inputs of the fuzz targets, the seeds and whatever was once found, without a fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

#[path = "../../fuzz/properties/collect.rs"]
mod collect;
#[path = "../../fuzz/properties/http.rs"]
mod http;

fn replay(target: &str, property: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut n_inputs = 0;
    for folder in ["corpus", "regressions"] {
        let Ok(entries) = fs::read_dir(fuzz.join(folder).join(target)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            // The test's output names the input at which it failed.
            println!("{}", path.display());
            property(&fs::read(path).unwrap());
            n_inputs += 1;
        }
    }
    assert!(n_inputs > 0, "no input for {target}");
}

#[test]
fn committed_inputs_of_collect_hold() {
    replay("collect", collect::collect);
}

#[test]
fn committed_inputs_of_http_hold() {
    replay("http", http::http);
}
