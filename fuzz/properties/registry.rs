//! Property of a registry: any sequence of calls gives the same stats as a model that is a plain list.
//!
//! Checked with and without shards.

use statvent_core::{Registry, Value};

const STATS: usize = 8;
const SERIES: usize = 2;
const NAME_BYTES: usize = 96;

#[derive(Default)]
struct Model {
    stats: Vec<(Vec<u8>, Value)>,
    series: Vec<(Vec<u8>, Vec<f64>)>,
    name_bytes: usize,
    rejected: i64,
}

pub(crate) fn registry(input: &[u8]) {
    compare::<0>(input);
    // The calling thread has a shard of its own.
    compare::<32>(input);
}

fn compare<const SHARDS: usize>(mut input: &[u8]) {
    let registry: Box<Registry<STATS, SERIES, NAME_BYTES, SHARDS>> = Box::default();
    let mut model = Model::default();
    while let [call, size, low, high, rest @ ..] = input {
        let (name, rest) = rest.split_at(usize::from(size % 24).min(rest.len()));
        input = rest;
        let small = i16::from_le_bytes([*low, *high]);
        // Multiples of a half, so that sums are exact in any order.
        let value =
            if call & 4 == 0 { Value::Int(small.into()) } else { Value::Float(f64::from(small) / 2.0) };
        match call & 3 {
            0 | 1 => {
                let name = [name, b"{0}"].concat();
                model.record(&name, value);
                registry.record(&name, value);
            }
            2 => {
                model.stat(name, |_| value);
                registry.set(name, value);
            }
            _ => {
                model.stat(name, |old| sum(old, value));
                registry.incr(name, value);
            }
        }
    }
    let mut stats = Vec::new();
    registry.for_each(|name, value| stats.push((name.to_vec(), value)));
    assert_eq!(stats, model.stats_and_quantiles());
    for (name, value) in &model.stats {
        assert_eq!(registry.get(name), Some(*value));
    }
}

impl Model {
    fn stat(&mut self, name: &[u8], change: impl FnOnce(Value) -> Value) {
        if let Some((_, value)) = self.stats.iter_mut().find(|(known, _)| known == name) {
            *value = match (*value, change(*value)) {
                (Value::Float(_), new) => Value::Float(new.as_f64()),
                (_, new) => new,
            };
        } else if self.stats.len() < STATS && self.admits(name) {
            self.stats.push((name.to_vec(), change(Value::Int(0))));
        } else {
            self.rejected += 1;
        }
    }

    fn record(&mut self, name: &[u8], value: Value) {
        if let Some((_, samples)) = self.series.iter_mut().find(|(known, _)| known == name) {
            samples.push(value.as_f64());
        } else if self.series.len() < SERIES && self.admits(name) {
            self.series.push((name.to_vec(), vec![value.as_f64()]));
        } else {
            self.rejected += 1;
        }
    }

    fn admits(&mut self, name: &[u8]) -> bool {
        let space = |byte: Option<&u8>| matches!(byte, None | Some(b' ' | 9..=13));
        let is_name = !space(name.first())
            && !space(name.last())
            && !name.contains(&b'\n')
            && !name.starts_with(b"statvent.")
            && self.name_bytes + name.len() <= NAME_BYTES;
        if is_name {
            self.name_bytes += name.len();
        }
        is_name
    }

    fn stats_and_quantiles(&self) -> Vec<(Vec<u8>, Value)> {
        let mut all = self.stats.clone();
        for (name, samples) in &self.series {
            let mut window = samples[samples.len().saturating_sub(100)..].to_vec();
            window.sort_by(f64::total_cmp);
            let at = |percent: usize| window[(window.len() * percent / 100).max(1) - 1];
            let mean = window.iter().sum::<f64>() / window.len() as f64;
            let rows =
                [("median", at(50)), ("95th", at(95)), ("99th", at(99)), ("100th", at(100)), ("mean", mean)];
            all.extend(rows.map(|(label, value)| (expanded(name, label), Value::Float(value))));
        }
        if self.rejected > 0 {
            all.push((b"statvent.rejected".to_vec(), Value::Int(self.rejected)));
        }
        all
    }
}

fn sum(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Int(old), Value::Int(new)) => Value::Int(old.wrapping_add(new)),
        (old, new) => Value::Float(old.as_f64() + new.as_f64()),
    }
}

fn expanded(name: &[u8], label: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = name;
    while let [first, later @ ..] = rest {
        if let Some(later) = rest.strip_prefix(b"{0}") {
            out.extend_from_slice(label.as_bytes());
            rest = later;
        } else {
            out.push(*first);
            rest = later;
        }
    }
    out
}
