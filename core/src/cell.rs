//! The state of one stat that all threads share.
//!
//! Owns how increments and settings of integers and floats meet; what a concurrent reader may see is said at
//! [`Cell`]. It knows neither names nor text.

use crate::float::AtomicFloat;
use crate::sync::{AtomicI64, AtomicU32, Backoff, Ordering, const_new, fence};
use crate::value::Value;

/// A stat's value, in words that are never torn.
///
/// Invariant: while `float` is absent the value is `level + sum`, integers that wrap; once it is there, for good,
/// the value is `float + sum` and `level` means nothing. Increments by integers go to `sum` alone, settings by
/// integers to `level` alone.
///
/// An increment is one atomic addition. A setting is one store, except where a sum has to vanish into a float: then
/// `version` is odd for two stores, and readers and others who do the same wait for them.
///
/// What another thread may see: an increment that runs at the same time as a setting is either part of what the
/// setting replaced or added to it, each one on its own; a setting that runs at the same time as the stat's first
/// float may be lost, as if it came first. A reader may see a newer increment of one thread and miss an older one
/// of another.
pub(crate) struct Cell {
    sum: AtomicI64,
    level: AtomicI64,
    float: AtomicFloat,
    version: AtomicU32,
}

impl Cell {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                sum: AtomicI64::new(0),
                level: AtomicI64::new(0),
                float: AtomicFloat::new(),
                version: AtomicU32::new(0),
            }
        }
    }

    /// Adds; wraps on overflow of the integer.
    #[inline]
    pub(crate) fn add(&self, value: Value) {
        match value {
            // Relaxed: a reader learns this number, not what was written before it.
            Value::Int(int) => {
                self.sum.fetch_add(int, Ordering::Relaxed);
            }
            Value::Float(float) => self.add_float(float),
        }
    }

    #[inline]
    pub(crate) fn set(&self, value: Value) {
        match value {
            Value::Int(int) if self.float.load().is_none() => {
                let level = int.wrapping_sub(self.sum.load(Ordering::Relaxed));
                // Release pairs with the Acquire in `get`: who sees this level sees at least this sum.
                self.level.store(level, Ordering::Release);
            }
            _ => self.set_float(value.as_f64()),
        }
    }

    pub(crate) fn get(&self) -> Value {
        let mut backoff = Backoff::new();
        loop {
            // Acquire pairs with the Release that ends `replace`: what it stored is seen.
            let before = self.version.load(Ordering::Acquire);
            let float = self.float.load();
            // Acquire pairs with the Release in `set`.
            let level = self.level.load(Ordering::Acquire);
            let sum = self.sum.load(Ordering::Relaxed);
            // Pairs with the fence in `replace`: had we seen one of its stores, we would see its odd version.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return match float {
                    None => Value::Int(level.wrapping_add(sum)),
                    // Not `float + 0.0`, which turns -0.0 into 0.0.
                    Some(float) if sum == 0 => Value::Float(float),
                    Some(float) => Value::Float(float + sum as f64),
                };
            }
            backoff.wait();
        }
    }

    fn add_float(&self, value: f64) {
        if self.float.load().is_none() {
            self.replace(|| {
                if self.float.load().is_none() {
                    // The level moves into the float, which from now on stands for it.
                    self.float.store(self.level.load(Ordering::Relaxed) as f64);
                }
            });
        }
        self.float.add(value);
    }

    fn set_float(&self, value: f64) {
        if self.sum.load(Ordering::Relaxed) == 0 {
            // An increment that comes from now on is added to the new value.
            return self.float.store(value);
        }
        self.replace(|| {
            self.sum.swap(0, Ordering::Relaxed);
            self.float.store(value);
        });
    }

    /// Calls `stores` while readers wait, one caller at a time.
    #[cold]
    fn replace(&self, stores: impl FnOnce()) {
        let mut backoff = Backoff::new();
        let version = loop {
            let even = self.version.load(Ordering::Relaxed) & !1;
            let odd = even.wrapping_add(1);
            // Acquire pairs with the Release below, of whoever replaced before us.
            if self.version.compare_exchange_weak(even, odd, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                break even;
            }
            backoff.wait();
        };
        // Pairs with the fence in `get`.
        fence(Ordering::Release);
        stores();
        // Release pairs with the Acquire loads in `get` and above.
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn integers_add_up_and_wrap() {
        let cell = Cell::new();
        cell.add(Value::Int(i64::MAX));
        cell.add(Value::Int(2));
        assert_eq!(cell.get(), Value::Int(i64::MIN + 1));
    }

    #[test]
    fn a_float_makes_it_a_float_for_good() {
        let cell = Cell::new();
        cell.add(Value::Int(2));
        cell.add(Value::Float(0.5));
        assert_eq!(cell.get(), Value::Float(2.5));
        cell.add(Value::Int(1));
        assert_eq!(cell.get(), Value::Float(3.5));
        cell.set(Value::Int(7));
        assert_eq!(cell.get(), Value::Float(7.0));
        cell.add(Value::Int(1));
        assert_eq!(cell.get(), Value::Float(8.0));
    }

    #[test]
    fn what_was_set_is_read_back_exactly() {
        let cell = Cell::new();
        cell.add(Value::Int(i64::MAX));
        for value in [Value::Int(-4), Value::Float(0.1), Value::Float(-0.0), Value::Float(f64::INFINITY)] {
            cell.set(value);
            assert_eq!(cell.get(), value);
        }
        cell.set(Value::Float(f64::NAN));
        assert!(cell.get().as_f64().is_nan());
    }

    #[test]
    fn integer_settings_replace_what_increments_left() {
        let cell = Cell::new();
        cell.add(Value::Int(i64::MIN));
        cell.set(Value::Int(i64::MAX));
        assert_eq!(cell.get(), Value::Int(i64::MAX));
        cell.add(Value::Int(-7));
        assert_eq!(cell.get(), Value::Int(i64::MAX - 7));
        cell.add(Value::Float(0.0));
        assert_eq!(cell.get(), Value::Float((i64::MAX - 7) as f64));
    }

    #[test]
    fn settings_replace_what_increments_left() {
        let cell = Cell::new();
        cell.set(Value::Float(0.1));
        cell.add(Value::Int(i64::MAX));
        cell.set(Value::Float(0.3));
        assert_eq!(cell.get(), Value::Float(0.3));
    }
}
