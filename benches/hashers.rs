//! Comparison of hashers for run-time names: time per name, and distribution of the low bits.
//!
//! `core/src/backend/atomic/name_index.rs` uses the hasher that was chosen. Names have three lengths. Each hasher is used
//! as it would be there: over the bytes of one name, without a random seed, and only the low bits of the result count.
//! Collisions are counted, not timed: 4096 names of each kind fall into 4096 slots. Random hashes would leave 1507 slots
//! empty.

#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

/// 1507 empty slots of 4096, as random hashes leave them, and a sixth more.
const MAX_EMPTY: usize = 1760;

fn names(kind: &str) -> Vec<String> {
    (0..4096)
        .map(|idx| match kind {
            "9 bytes" => format!("jobs.{idx:04}"),
            "20 bytes" => format!("service.request.{idx:04}"),
            _ => format!("http.server.requests{{route=\"/v1/items/{idx:04}\",method=\"GET\"}}"),
        })
        .collect()
}

fn rustc_hash(name: &[u8]) -> u64 {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(name);
    hasher.finish()
}

fn fnv(name: &[u8]) -> u64 {
    let mut hasher = hash32::FnvHasher::default();
    hasher.write(name);
    hasher.finish()
}

fn foldhash(name: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(name);
    hasher.finish()
}

fn siphash(name: &[u8]) -> u64 {
    #[expect(deprecated, reason = "the only hasher of the standard library without a seed")]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(name);
    hasher.finish()
}

type Hash = fn(&[u8]) -> u64;

fn bench(criterion: &mut Criterion) {
    let hashers: [(&str, Hash); 4] =
        [("rustc-hash", rustc_hash), ("fnv", fnv), ("foldhash", foldhash), ("siphash", siphash)];
    for kind in ["9 bytes", "20 bytes", "60 bytes"] {
        let names = names(kind);
        let mut group = criterion.benchmark_group(kind);
        for (hasher, hash) in hashers {
            let slots: HashSet<u64> = names.iter().map(|name| fold(hash(name.as_bytes())) % 4096).collect();
            println!("{hasher}, {kind}: {} of 4096 slots empty", 4096 - slots.len());
            assert!(4096 - slots.len() <= MAX_EMPTY);
            let mut idx = 0;
            group.bench_function(hasher, |bencher| {
                bencher.iter(|| {
                    idx = (idx + 1) % 4096;
                    fold(hash(black_box(names[idx].as_bytes())))
                });
            });
        }
    }
}

/// Folds the two halves together, as the name index does: not every hasher's low half depends on all bits.
fn fold(hash: u64) -> u64 {
    (hash ^ hash >> 32) & 0xffff_ffff
}

criterion_group!(benches, bench);
criterion_main!(benches);
