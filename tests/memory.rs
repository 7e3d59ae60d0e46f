//! What the global registry takes of the machine's memory: what is used of it, and no more.
//!
//! One test, in a process of its own, because the registry is the process's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::sync::Barrier;
use std::thread;

use statvent::{GLOBAL, GlobalRegistry, incr, record, set};

/// Returns what is resident, in KiB, of the mappings that the registry lies in.
fn resident_kib() -> u64 {
    let start = (&raw const GLOBAL) as usize;
    let end = start + size_of::<GlobalRegistry>();
    let (mut is_ours, mut kib) = (false, 0);
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            is_ours = address(from) < end && start < address(to);
        } else if is_ours && first == "Rss:" {
            kib += words.next().unwrap().parse::<u64>().unwrap();
        }
    }
    kib
}

#[test]
fn ten_stats_of_four_threads_take_less_than_200_kib() {
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
                // So that each of the four has a shard of its own.
                barrier.wait();
            });
        }
    });
    let mut n_lines = 0;
    GLOBAL.for_each(|_, _| n_lines += 1);
    assert_eq!(n_lines, 9 + 5);
    let kib = resident_kib();
    println!("resident: {kib} KiB of {} KiB", size_of::<GlobalRegistry>() / 1024);
    assert!(kib > 0 && kib < 200, "{kib} KiB are resident");
}
