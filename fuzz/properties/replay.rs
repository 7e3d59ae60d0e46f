//! Replay of a property over the committed inputs of its fuzz target: seeds and former crashes.
//!
//! Owns where these inputs are. It needs no fuzzer: stable tests include it.

use std::fs;
use std::path::Path;

pub(crate) fn replay(target: &str, property: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut n_inputs = 0;
    for folder in ["corpus", "regressions"] {
        let Ok(entries) = fs::read_dir(fuzz.join(folder).join(target)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            // A failed test prints the failing input last.
            println!("{}", path.display());
            property(&fs::read(path).unwrap());
            n_inputs += 1;
        }
    }
    assert!(n_inputs > 0, "no input for {target}");
}
