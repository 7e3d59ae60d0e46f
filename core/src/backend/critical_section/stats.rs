//! Store of the values of all stats, for interrupts: 12 bytes each on 32-bit targets.
//!
//! Owns how integers and floats share one word. A float carries a pointer to the code for floats, so that a program
//! without floats does not contain that code.

use super::digits::digits;
use super::lock::CriticalCell;
use crate::backend::write_op::WriteOp;
use crate::line::number::{TextBuf, collect_bytes, with_float_text};
use crate::value::Value;

/// `STATS` stats. An invalid index is ignored.
pub(crate) struct StatStore<const STATS: usize, const SHARDS: usize>([CriticalCell<StoredValue>; STATS]);

impl<const STATS: usize, const SHARDS: usize> StatStore<STATS, SHARDS> {
    pub(crate) const fn new() -> Self {
        Self([const { CriticalCell::new(StoredValue::from_bits(0, None)) }; STATS])
    }

    /// Always false: there are no words of threads.
    #[inline(always)]
    pub(crate) fn add_fast(&self, _: usize, _: Value) -> bool {
        false
    }

    /// Always false: there is no faster way than [`write`](Self::write).
    #[inline(always)]
    pub(crate) fn write_fast(&self, _: usize, _: WriteOp, _: StoredValue) -> bool {
        false
    }

    pub(crate) fn write(&self, idx: usize, op: WriteOp, value: StoredValue) {
        if let Some(stat) = self.stat(idx) {
            stat.write(op, value);
        }
    }

    pub(crate) fn stat(&self, idx: usize) -> Option<StatRef<'_>> {
        self.0.get(idx).map(StatRef)
    }

    pub(crate) fn view(&self) -> StatsView<'_> {
        StatsView(&self.0)
    }
}

/// Reader of all stats, without the capacity in the type.
#[derive(Clone, Copy)]
pub(crate) struct StatsView<'r>(&'r [CriticalCell<StoredValue>]);

impl StatsView<'_> {
    pub(crate) fn get(self, idx: usize) -> Option<StoredValue> {
        Some(self.0.get(idx)?.with(|value| *value))
    }
}

/// One stat: an integer until its first float, then always a float.
#[derive(Clone, Copy)]
pub(crate) struct StatRef<'r>(&'r CriticalCell<StoredValue>);

impl StatRef<'_> {
    pub(crate) fn write(self, op: WriteOp, value: StoredValue) {
        match op {
            WriteOp::Add => self.add(value),
            WriteOp::Set => self.set(value),
        }
    }

    /// Writes the first value of a new stat, before its name is published.
    pub(crate) fn init(self, _: WriteOp, value: StoredValue) {
        self.set(value);
    }

    /// The same as an increment: no mark is needed.
    pub(crate) fn add_marked(self, value: StoredValue) {
        self.add(value);
    }

    /// Does nothing: increments need no mark.
    #[inline(always)]
    pub(crate) fn mark_incremented(self) {}

    /// Adds; integers wrap on overflow.
    ///
    /// Integers are added in one critical section. Floats are added outside of it, because that takes hundreds of
    /// instructions on small processors. If the stat changed in the meantime, the addition is repeated.
    fn add(self, value: StoredValue) {
        let mut added = self.0.with(|sum| sum.add_int(value));
        while let Err(seen) = added {
            let sum = seen.plus(value);
            added = self.0.with(|now| now.exchange(seen, sum));
        }
    }

    /// Sets. An integer that must become a float is converted outside of the critical section.
    fn set(self, mut value: StoredValue) {
        while let Err(code) = self.0.with(|now| now.replace(value)) {
            value = StoredValue::from_bits((code.sum)(value.value(), Value::Int(0)).to_bits(), Some(code));
        }
    }
}

/// A stored value. An integer has no undefined bytes: the compiler could fill them with the pointer to the code for
/// floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredValue {
    /// Two halves, to avoid padding for alignment.
    halves: [u32; 2],
    /// Present if the bits are those of a float.
    code: Option<&'static FloatCode>,
}

/// The code that only floats need.
#[derive(Debug)]
pub(crate) struct FloatCode {
    sum: fn(Value, Value) -> f64,
    text: for<'b> fn(f64, &'b mut TextBuf) -> &'b [u8],
}

const FLOAT_CODE: &FloatCode = &FloatCode {
    sum: |a, b| a.as_f64() + b.as_f64(),
    text: |float, out| with_float_text(float, |text| collect_bytes(text.iter(), out)),
};

impl StoredValue {
    const fn from_bits(bits: u64, code: Option<&'static FloatCode>) -> Self {
        Self { halves: [bits as u32, (bits >> 32) as u32], code }
    }

    /// Always inlined. Call it only if the kind of value is known at compile time: only then can the compiler see
    /// that a program has no floats.
    #[inline(always)]
    pub(crate) const fn from_value(value: Value) -> Self {
        match value {
            Value::Int(int) => Self::from_bits(int as u64, None),
            Value::Float(float) => Self::from_bits(float.to_bits(), Some(FLOAT_CODE)),
        }
    }

    pub(crate) const fn value(self) -> Value {
        let bits = self.halves[0] as u64 | (self.halves[1] as u64) << 32;
        match self.code {
            None => Value::Int(bits as i64),
            Some(_) => Value::Float(f64::from_bits(bits)),
        }
    }

    /// Calls `write` with the text of the value.
    pub(crate) fn with_text<R>(self, write: impl FnOnce(&[u8]) -> R) -> R {
        match (self.value(), self.code) {
            (Value::Float(float), Some(code)) => write((code.text)(float, &mut TextBuf::default())),
            (Value::Int(int), _) => write(digits(int, &mut TextBuf::default())),
            // Unreachable: a float always has its code.
            (Value::Float(_), None) => write(b"nan"),
        }
    }

    /// Adds if both are integers; otherwise returns the current value.
    fn add_int(&mut self, more: Self) -> Result<(), Self> {
        match (self.value(), more.value()) {
            (Value::Int(sum), Value::Int(int)) => {
                *self = Self::from_value(Value::Int(sum.wrapping_add(int)));
                Ok(())
            }
            _ => Err(*self),
        }
    }

    /// Returns the sum as a float. One of the two must be a float.
    fn plus(self, more: Self) -> Self {
        match self.code.or(more.code) {
            Some(code) => Self::from_bits((code.sum)(self.value(), more.value()).to_bits(), Some(code)),
            None => self,
        }
    }

    /// Replaces the value if it still equals `seen`; otherwise returns the current value.
    fn exchange(&mut self, seen: Self, new: Self) -> Result<(), Self> {
        if self.halves != seen.halves || self.code.is_some() != seen.code.is_some() {
            return Err(*self);
        }
        *self = new;
        Ok(())
    }

    /// Replaces the value, unless `new` must be converted to a float first.
    fn replace(&mut self, new: Self) -> Result<(), &'static FloatCode> {
        match (self.code, new.code) {
            (Some(code), None) => Err(code),
            _ => {
                *self = new;
                Ok(())
            }
        }
    }
}
