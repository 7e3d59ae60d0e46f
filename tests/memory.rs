//! Resident memory of the global registry: only the pages that are used.
//!
//! One test in its own process, because the registry is global.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::fs;
use std::sync::Barrier;
use std::thread;

use statvent::{GLOBAL, GlobalRegistry, incr, record, set};

/// The mappings of the registry in `/proc/self/smaps`: their resident memory in KiB, and their flags.
fn mappings() -> (u64, Vec<String>) {
    let start = (&raw const GLOBAL).addr();
    let end = start + size_of::<GlobalRegistry>();
    let (mut is_registry, mut kib, mut flags) = (false, 0, Vec::new());
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((from, to)) = first.split_once('-') {
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            is_registry = address(from) < end && start < address(to);
        } else if is_registry && first == "Rss:" {
            kib += rest.split_whitespace().next().unwrap().parse::<u64>().unwrap();
        } else if is_registry && first == "VmFlags:" {
            flags.push(rest.to_owned());
        }
    }
    (kib, flags)
}

#[test]
fn ten_stats_of_four_threads_take_less_than_200_kib() {
    // Also before the recorder starts: memory that is first used on a huge page stays there.
    assert_no_huge_pages();
    let temp = tempfile::tempdir().unwrap();
    statvent::start_recorder_in(temp.path()).unwrap();
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    incr!("m.0");
                    incr!("m.1");
                    incr!("m.2");
                    incr!("m.3");
                    incr!("m.4", 0.5);
                    statvent::incr("m.5", 1);
                    statvent::incr("m.6", 1);
                    set!("m.7", 1.5);
                    set!("m.8", 2);
                    record!("m.9.{0}", 3);
                }
                // All four threads are alive together, so each one has its own shard.
                barrier.wait();
            });
        }
    });
    let mut n_lines = 0;
    GLOBAL.for_each(|_, _| n_lines += 1);
    assert_eq!(n_lines, 9 + 5);
    let (kib, _) = mappings();
    println!("resident: {kib} KiB of {} KiB", size_of::<GlobalRegistry>() / 1024);
    assert!(kib > 0 && kib < 200, "{kib} KiB are resident");
    assert_no_huge_pages();
}

fn assert_no_huge_pages() {
    let (_, flags) = mappings();
    let is_excluded = flags.iter().any(|flags| flags.split_whitespace().any(|flag| flag == "nh"));
    assert!(is_excluded, "found no mapping without huge pages, expected the registry in one: {flags:?}");
}
