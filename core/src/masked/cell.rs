//! The state of one stat where interrupts may come between: 12 bytes on 32-bit targets.
//!
//! Owns how integers and floats meet in one word, as `cell` does for programs with threads. It knows neither names nor
//! text: a float brings the code for floats along, so that a program without floats has none of it. Called by `slot`
//! and `handle`, and by readers.

use super::digits::digits;
use super::lock::Lock;
use super::unthreaded::Column;
use crate::line::{TextBuf, gathered, with_float_text};
use crate::value::Value;

/// A stat's value: an integer, until it is given a float and stays one.
pub(crate) struct Cell(Lock<Stored>);

impl Cell {
    pub(crate) const fn new() -> Self {
        Self(Lock::new(Stored::new(0, None)))
    }

    /// Returns the value; the column is that of threads, which there are none of.
    pub(crate) fn get(&self, _: Column<'_>) -> Stored {
        self.0.with(|value| *value)
    }
}

/// A value as it is kept. With nothing undefined in an integer, which the compiler would take for the code for floats.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    /// Halves, so that nothing is left empty for the sake of alignment.
    halves: [u32; 2],
    /// There where the bits are those of a float.
    code: Option<&'static FloatCode>,
}

/// What floats alone need.
pub(crate) struct FloatCode {
    sum: fn(Value, Value) -> f64,
    as_f64: fn(Value) -> f64,
    text: for<'b> fn(f64, &'b mut TextBuf) -> &'b [u8],
}

const FLOAT_CODE: &FloatCode = &FloatCode {
    sum: |a, b| a.as_f64() + b.as_f64(),
    as_f64: Value::as_f64,
    text: |float, out| with_float_text(float, |text| gathered(text.iter(), out)),
};

impl Stored {
    const fn new(bits: u64, code: Option<&'static FloatCode>) -> Self {
        Self { halves: [bits as u32, (bits >> 32) as u32], code }
    }

    /// To be called where the kind of the value is known when compiling, which is why it is always inlined: only there
    /// can be seen that a program has no floats.
    #[inline(always)]
    pub(crate) const fn of(value: Value) -> Self {
        match value {
            Value::Int(int) => Self::new(int as u64, None),
            Value::Float(float) => Self::new(float.to_bits(), Some(FLOAT_CODE)),
        }
    }

    pub(crate) const fn value(self) -> Value {
        let bits = self.halves[0] as u64 | (self.halves[1] as u64) << 32;
        match self.code {
            None => Value::Int(bits as i64),
            Some(_) => Value::Float(f64::from_bits(bits)),
        }
    }

    /// Calls `write` with the value's text.
    pub(crate) fn with_text<R>(self, write: impl FnOnce(&[u8]) -> R) -> R {
        match (self.value(), self.code) {
            (Value::Float(float), Some(code)) => write((code.text)(float, &mut TextBuf::default())),
            (Value::Int(int), _) => write(digits(int, &mut TextBuf::default())),
            // A float always has its code.
            (Value::Float(_), None) => write(b"nan"),
        }
    }

    /// Adds where both are integers; else says what is there.
    fn add_int(&mut self, more: Self) -> Result<(), Self> {
        match (self.value(), more.value()) {
            (Value::Int(sum), Value::Int(int)) => {
                *self = Self::of(Value::Int(sum.wrapping_add(int)));
                Ok(())
            }
            _ => Err(*self),
        }
    }

    /// The sum, which is a float, of two of which one is.
    fn plus(self, more: Self) -> Self {
        match self.code.or(more.code) {
            Some(code) => Self::new((code.sum)(self.value(), more.value()).to_bits(), Some(code)),
            None => self,
        }
    }

    /// Puts `new` in the place of what was `seen`; else says what is there.
    fn exchange(&mut self, seen: Self, new: Self) -> Result<(), Self> {
        if self.halves != seen.halves || self.code.is_some() != seen.code.is_some() {
            return Err(*self);
        }
        *self = new;
        Ok(())
    }

    /// Puts `new` here, if it does not have to be made a float before.
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

/// Here nothing stands apart from the cell.
pub(crate) struct Mode;

impl Mode {
    pub(crate) const fn new() -> Self {
        Self
    }
}

/// All there is of one stat.
#[derive(Clone, Copy)]
pub(crate) struct Stat<'r> {
    pub(crate) cell: &'r Cell,
    #[expect(dead_code, reason = "there for programs with threads")]
    pub(crate) mode: &'r Mode,
    #[expect(dead_code, reason = "there for programs with threads")]
    pub(crate) column: Column<'r>,
}

impl Stat<'_> {
    /// Adds; wraps on overflow of the integer.
    ///
    /// Integers in one critical section. Floats are added outside of it, which takes small processors hundreds of
    /// instructions, and again if something came between.
    pub(crate) fn add(&self, value: Stored) {
        let mut added = self.cell.0.with(|sum| sum.add_int(value));
        while let Err(seen) = added {
            let sum = seen.plus(value);
            added = self.cell.0.with(|now| now.exchange(seen, sum));
        }
    }

    /// All stats are.
    #[inline(always)]
    pub(crate) fn add_to_summed(&self, value: Stored) {
        self.add(value);
    }

    /// Nothing is quicker than [`add_slowly`](Self::add_slowly).
    #[inline(always)]
    pub(crate) fn add_quickly(&self, _: Stored) -> bool {
        false
    }

    pub(crate) fn add_slowly(&self, value: Stored) {
        self.add(value);
    }

    /// Begins a new stat, which nobody knows yet, at the value.
    pub(crate) fn add_shared(&self, value: Stored) {
        self.set(value);
    }

    #[inline(always)]
    pub(crate) fn begin_summing(&self) {}

    /// Sets; what has to be made a float is made one outside of the critical section.
    pub(crate) fn set(&self, value: Stored) {
        let mut value = value;
        while let Err(code) = self.cell.0.with(|now| now.replace(value)) {
            value = Stored::new((code.as_f64)(value.value()).to_bits(), Some(code));
        }
    }

    /// Nothing is quicker than [`set_slowly`](Self::set_slowly).
    #[inline(always)]
    pub(crate) fn set_quickly(&self, _: Stored) -> bool {
        false
    }

    pub(crate) fn set_slowly(&self, value: Stored) {
        self.set(value);
    }
}
