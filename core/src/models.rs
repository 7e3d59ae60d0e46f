//! Models of all structures that threads share, checked by loom in every order of execution.
//!
//! `bin/loom` runs them. The name of a model is the property that it checks.

use loom::sync::Arc;
use loom::thread;

use crate::backend::shard_id::ShardPool;
use crate::backend::{RawMutex, SampleStore, SearchCursor, StatStore, WriteOp};
use crate::names::append_vec::AppendVec;
use crate::names::arena::{Arena, NewName};
use crate::names::directory::{Directory, Registered};
use crate::sync::{AtomicU32, Ordering, OwnerLoad};
use crate::value::Value;

/// A stat with a shard for one thread.
struct Shared(StatStore<1, 1>);

impl Shared {
    fn new() -> Self {
        Self(StatStore::new())
    }

    /// Adds as a thread without a shard.
    fn add(&self, value: Value) {
        self.0.write(0, WriteOp::Add, value);
    }

    /// Adds as the owner of the first shard.
    fn add_in_first_shard(&self, value: Value) {
        add_in_shard(&self.0, 0, value);
    }

    fn set(&self, value: Value) {
        self.0.write(0, WriteOp::Set, value);
    }

    fn get(&self) -> Value {
        self.0.view().get(0).unwrap()
    }
}

/// Adds as the thread with this shard id.
fn add_in_shard<const SHARDS: usize>(stats: &StatStore<1, SHARDS>, id: usize, value: Value) {
    let stat = stats.stat(0).unwrap();
    stat.mark_incremented();
    stat.add_to(stat.shards.slot(id).unwrap(), value);
}

/// Starts a thread that runs `work` with the shared value.
fn spawn_with<T: Send + Sync + 'static, R: 'static>(
    shared: &Arc<T>,
    work: impl FnOnce(&T) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

/// Runs `model` with at most three preemptions, which finds nearly all faults and keeps the larger models short.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn increments_of_two_threads_are_both_counted() {
    check(|| {
        let cell = Arc::new(Shared::new());
        let other = spawn_with(&cell, move |cell| {
            cell.add(Value::Int(1));
            cell.add(Value::Float(0.5));
        });
        cell.add(Value::Float(0.25));
        cell.add(Value::Int(2));
        other.join().unwrap();
        assert_eq!(cell.get(), Value::Float(3.75));
    });
}

#[test]
fn a_reader_of_a_counter_never_sees_it_decrease() {
    check(|| {
        let cell = Arc::new(Shared::new());
        cell.add(Value::Int(1));
        let writer = spawn_with(&cell, move |cell| {
            cell.add(Value::Int(1));
            cell.add(Value::Float(0.5));
        });
        let first = cell.get().as_f64();
        let second = cell.get().as_f64();
        assert!(1.0 <= first && first <= second && second <= 2.5);
        writer.join().unwrap();
    });
}

#[test]
fn a_reader_sees_the_value_before_or_after_a_setting() {
    check(|| {
        let cell = Arc::new(Shared::new());
        cell.add(Value::Int(10));
        let setter = spawn_with(&cell, move |cell| cell.set(Value::Float(2.5)));
        assert!([Value::Int(10), Value::Float(2.5)].contains(&cell.get()));
        setter.join().unwrap();
        assert_eq!(cell.get(), Value::Float(2.5));
    });
}

#[test]
fn an_increment_concurrent_with_a_setting_is_replaced_or_added() {
    check(|| {
        let cell = Arc::new(Shared::new());
        cell.add(Value::Int(10));
        let setter = spawn_with(&cell, move |cell| cell.set(Value::Float(2.5)));
        cell.add(Value::Int(1));
        setter.join().unwrap();
        assert!([Value::Float(2.5), Value::Float(3.5)].contains(&cell.get()), "{:?}", cell.get());
    });
}

#[test]
fn a_reader_concurrent_with_a_setting_and_an_increment_sees_no_other_value() {
    check(|| {
        let cell = Arc::new(Shared::new());
        cell.add(Value::Int(10));
        let setter = spawn_with(&cell, move |cell| cell.set(Value::Int(5)));
        let adder = spawn_with(&cell, move |cell| cell.add(Value::Int(1)));
        let seen = cell.get();
        assert!([10, 11, 5, 6].map(Value::Int).contains(&seen), "{seen:?}");
        setter.join().unwrap();
        adder.join().unwrap();
        assert!([5, 6].map(Value::Int).contains(&cell.get()), "{:?}", cell.get());
    });
}

#[test]
fn one_of_two_settings_of_different_kinds_wins() {
    check(|| {
        let cell = Arc::new(Shared::new());
        let setter = spawn_with(&cell, move |cell| cell.set(Value::Float(2.5)));
        cell.set(Value::Int(7));
        setter.join().unwrap();
        assert!([Value::Float(2.5), Value::Float(7.0)].contains(&cell.get()), "{:?}", cell.get());
    });
}

#[test]
fn one_of_two_settings_that_replace_the_integer_wins() {
    check(|| {
        let cell = Arc::new(Shared::new());
        cell.add(Value::Int(10));
        let setter = spawn_with(&cell, move |cell| cell.set(Value::Float(2.5)));
        cell.set(Value::Float(1.5));
        setter.join().unwrap();
        assert!([Value::Float(2.5), Value::Float(1.5)].contains(&cell.get()));
    });
}

#[test]
fn published_elements_are_complete_while_more_are_appended() {
    check(|| {
        let array = Arc::new(AppendVec::<u8, 4>::new());
        let writer = spawn_with(&array, move |array| {
            array.append(|bytes| bytes.push_all(b"ab"));
            array.append(|bytes| bytes.push_all(b"c"));
        });
        let n_seen = array.view().len();
        for (idx, byte) in b"abc"[..n_seen].iter().enumerate() {
            assert_eq!(array.view().get(idx), Some(byte));
        }
        writer.join().unwrap();
        assert_eq!(array.view().len(), 3);
    });
}

#[test]
fn the_mutex_has_one_holder_at_a_time() {
    check(|| {
        let shared = Arc::new((RawMutex::new(), AtomicU32::new(0)));
        // Loom fails if two of these loads and stores overlap.
        let raise = |(mutex, n): &(RawMutex, AtomicU32)| {
            mutex.with_lock(|| n.store(n.load_own() + 1, Ordering::Relaxed));
        };
        let other = spawn_with(&shared, raise);
        raise(&shared);
        other.join().unwrap();
        assert_eq!(shared.1.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_name_that_two_threads_register_gets_one_index() {
    check(|| {
        let shared = Arc::new((Directory::<2>::new(), Arena::<4>::new()));
        let register = |(directory, arena): &(Directory<2>, Arena<4>)| match directory.find(b"a", arena) {
            Ok(idx) => Registered::Existing(idx),
            Err(cursor) => directory.insert(cursor, NewName::Borrowed(b"a"), arena, |_| ()).unwrap(),
        };
        let other = spawn_with(&shared, register);
        let mut found = [register(&shared), other.join().unwrap()];
        found.sort_by_key(|found| matches!(found, Registered::Inserted(_)));
        assert_eq!(found, [Registered::Existing(0), Registered::Inserted(0)]);
        assert_eq!(shared.0.view().len(), 1);
    });
}

#[test]
fn a_window_holds_only_samples_that_were_recorded() {
    check(|| {
        let series = Arc::new(SampleStore::<1, 0>::new());
        let window = |series: &SampleStore<1, 0>| series.view().window(0).unwrap();
        series.view().record(0, 1.0);
        let writer = spawn_with(&series, move |series| series.view().record(0, 2.0));
        let mut seen = window(&series);
        assert_eq!(seen.quantile(0.0), 1.0);
        assert!([1.0, 2.0].contains(&seen.quantile(100.0)));
        writer.join().unwrap();
        assert_eq!(window(&series).mean(), 1.5);
    });
}

#[test]
fn increments_in_a_shard_and_in_the_shared_cell_are_all_counted() {
    check(|| {
        let stat = Arc::new(Shared::new());
        let owner = spawn_with(&stat, move |stat| {
            stat.add_in_first_shard(Value::Int(1));
            stat.add_in_first_shard(Value::Float(0.5));
        });
        stat.add(Value::Int(2));
        let seen = stat.get().as_f64();
        assert!((2.0..=3.5).contains(&seen), "{seen}");
        owner.join().unwrap();
        assert_eq!(stat.get(), Value::Float(3.5));
    });
}

#[test]
fn a_reader_of_a_shard_never_sees_a_counter_decrease() {
    check(|| {
        let stat = Arc::new(Shared::new());
        let owner = spawn_with(&stat, move |stat| {
            stat.add_in_first_shard(Value::Int(1));
            stat.add_in_first_shard(Value::Int(1));
        });
        let (first, second) = (stat.get().as_f64(), stat.get().as_f64());
        assert!(first <= second && second <= 2.0, "{first} {second}");
        owner.join().unwrap();
        assert_eq!(stat.get(), Value::Int(2));
    });
}

#[test]
fn a_setting_concurrent_with_the_owners_increment_replaces_it_or_not() {
    for value in [Value::Int(5), Value::Float(5.0)] {
        check(move || {
            let stat = Arc::new(Shared::new());
            stat.add_in_first_shard(Value::Int(10));
            let owner = spawn_with(&stat, move |stat| stat.add_in_first_shard(Value::Int(1)));
            stat.set(value);
            let seen = stat.get().as_f64();
            assert!([5.0, 6.0].contains(&seen), "{seen}");
            owner.join().unwrap();
            let seen = stat.get().as_f64();
            assert!([5.0, 6.0].contains(&seen), "{seen}");
        });
    }
}

#[test]
fn a_reader_concurrent_with_a_setting_of_a_sharded_stat_sees_no_third_value() {
    for value in [Value::Int(5), Value::Float(5.0)] {
        check(move || {
            let stat = Arc::new(Shared::new());
            stat.add_in_first_shard(Value::Int(10));
            let setter = spawn_with(&stat, move |stat| stat.set(value));
            let seen = stat.get().as_f64();
            assert!([10.0, 5.0].contains(&seen), "{seen}");
            setter.join().unwrap();
            assert_eq!(stat.get(), value);
        });
    }
}

#[test]
fn a_shard_that_is_reused_keeps_its_counts() {
    check(|| {
        let shared = Arc::new((ShardPool::new(), StatStore::<1, 2>::new()));
        let work = |(pool, stats): &(ShardPool, StatStore<1, 2>)| {
            let id = pool.acquire().unwrap();
            add_in_shard(stats, id, Value::Int(1));
            pool.release(id);
        };
        let other = spawn_with(&shared, work);
        work(&shared);
        work(&shared);
        other.join().unwrap();
        assert_eq!(shared.1.view().get(0).unwrap(), Value::Int(3));
    });
}

#[test]
fn a_reader_drains_only_recorded_samples_and_in_the_end_all_of_them() {
    check(|| {
        let series = Arc::new(SampleStore::<1, 1>::new());
        let owner = spawn_with(&series, move |series| {
            series.thread_ring(0, 0).record(1.0);
            series.thread_ring(0, 0).record(2.0);
        });
        series.view().window(0);
        owner.join().unwrap();
        let mut window = series.view().window(0).unwrap();
        assert_eq!((window.quantile(0.0), window.quantile(100.0), window.mean()), (1.0, 2.0, 1.5));
    });
}

#[test]
fn the_sum_of_the_used_shards_never_decreases_and_is_complete_in_the_end() {
    check(|| {
        let shared = Arc::new((ShardPool::new(), StatStore::<1, 2>::new()));
        let owner = |(pool, stats): &(ShardPool, StatStore<1, 2>)| {
            let id = pool.acquire().unwrap();
            add_in_shard(stats, id, Value::Int(1));
            pool.release(id);
        };
        let sum = |(pool, stats): &(ShardPool, StatStore<1, 2>)| -> i64 {
            let shards = stats.stat(0).unwrap().shards;
            (0..pool.n_used()).map(|id| shards.slot(id).unwrap().sum.load(Ordering::Relaxed)).sum()
        };
        let owners = [spawn_with(&shared, owner), spawn_with(&shared, owner)];
        let (first, second) = (sum(&shared), sum(&shared));
        assert!(first <= second && second <= 2, "{first} {second}");
        owners.into_iter().for_each(|owner| owner.join().unwrap());
        assert_eq!(sum(&shared), 2);
    });
}

#[test]
fn an_owners_first_float_concurrent_with_an_integer_setting_loses_at_most_the_setting() {
    check(|| {
        let stat = Arc::new(Shared::new());
        stat.add_in_first_shard(Value::Int(10));
        let owner = spawn_with(&stat, move |stat| stat.add_in_first_shard(Value::Float(0.5)));
        stat.set(Value::Int(5));
        let seen = stat.get().as_f64();
        assert!([10.0, 10.5, 5.0, 5.5].contains(&seen), "{seen}");
        owner.join().unwrap();
        let seen = stat.get().as_f64();
        assert!([10.5, 5.0, 5.5].contains(&seen), "{seen}");
    });
}

#[test]
fn an_owners_float_concurrent_with_a_float_setting_is_replaced_or_added() {
    check(|| {
        let stat = Arc::new(Shared::new());
        stat.add_in_first_shard(Value::Float(0.25));
        let owner = spawn_with(&stat, move |stat| {
            stat.add_in_first_shard(Value::Float(1.0));
            stat.add_in_first_shard(Value::Float(2.0));
        });
        stat.set(Value::Float(8.0));
        let seen = stat.get().as_f64();
        assert!([8.0, 9.0, 10.0, 11.0].contains(&seen), "{seen}");
        owner.join().unwrap();
        let seen = stat.get().as_f64();
        assert!([8.0, 10.0, 11.0].contains(&seen), "{seen}");
    });
}

#[test]
fn a_visible_name_has_its_first_value() {
    check(|| {
        let shared = Arc::new((Directory::<2>::new(), Arena::<4>::new(), Shared::new()));
        let writer = spawn_with(&shared, |(directory, arena, stat)| {
            let init = |_| stat.add(Value::Int(5));
            directory.insert(SearchCursor::start(b"a"), NewName::Literal("a"), arena, init).unwrap();
            stat.add(Value::Int(1));
        });
        let (directory, arena, stat) = &*shared;
        if directory.find(b"a", arena).is_ok() || directory.view().len() == 1 {
            let seen = stat.get();
            assert!([5, 6].map(Value::Int).contains(&seen), "{seen:?}");
        }
        writer.join().unwrap();
        assert_eq!((directory.view().len(), stat.get()), (1, Value::Int(6)));
    });
}
