//! Which troubles are news.
//!
//! Owns what was reported already: a trouble is reported when it appears, and again only after it was gone for a while, so
//! that one which comes and goes is told once. It does not print (see `main`), finds nothing out (see `collect`) and reads
//! no clock.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::mem::discriminant;
use std::time::{Duration, Instant};

use crate::collect::{Reason, Warning};
use crate::limits::MAX_PIPES;

/// How long a trouble must be gone to be news again.
const MEMORY: Duration = Duration::from_secs(60);
/// The most troubles that are remembered. There are more only where somebody makes new ones all the time: those are not told.
const MAX_KNOWN: usize = 2 * MAX_PIPES;

/// Reports to one who listens.
pub(super) struct Reports {
    hasher: RandomState,
    /// When each was there last, and how long it is remembered from then on, by its hash: names may be long, and two of so
    /// few have the same hash once in billions.
    known: HashMap<u64, (Instant, Duration)>,
    on_trouble: Box<dyn FnMut(&Warning) + Send>,
}

impl Reports {
    pub(super) fn new(on_trouble: impl FnMut(&Warning) + Send + 'static) -> Self {
        Self { hasher: RandomState::new(), known: HashMap::new(), on_trouble: Box::new(on_trouble) }
    }

    /// Takes all troubles of a collection that ended `now`, and reports those that are news.
    pub(super) fn take(&mut self, troubles: &[Warning], now: Instant) {
        let keys: Vec<_> = troubles.iter().map(|trouble| self.key(trouble)).collect();
        let mut news = Vec::new();
        for (trouble, key) in troubles.iter().zip(keys) {
            if self.known.len() < MAX_KNOWN || self.known.contains_key(&key) {
                let before = self.known.insert(key, (now, memory(trouble)));
                let is_news = before.is_none_or(|(seen_at, _)| now.duration_since(seen_at) >= MEMORY);
                news.extend(is_news.then_some(trouble));
            }
        }
        self.known.retain(|_, (seen_at, memory)| *seen_at == now || now.duration_since(*seen_at) < *memory);
        news.into_iter().for_each(|trouble| (self.on_trouble)(trouble));
    }

    /// Tells kinds of trouble apart, not how many lines or bytes it is about.
    fn key(&self, trouble: &Warning) -> u64 {
        let kind = match &trouble.reason {
            Reason::Unreadable(err) => Some(discriminant(err)),
            _ => None,
        };
        self.hasher.hash_one((&trouble.name, discriminant(&trouble.reason), kind))
    }
}

/// What the owner of the directory does is told each time; writers may do what they like as often as they like.
const fn memory(trouble: &Warning) -> Duration {
    match trouble.reason {
        Reason::Directory { .. } => Duration::ZERO,
        _ => MEMORY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::PipeError;
    use std::ffi::OsString;
    use std::io::ErrorKind;
    use std::sync::mpsc::{Receiver, channel};

    fn malformed(name: &str, n_lines: usize) -> Warning {
        Warning { name: name.into(), reason: Reason::Malformed { n_lines } }
    }

    fn unreadable(name: &str) -> Warning {
        let err = PipeError::System(ErrorKind::PermissionDenied.into());
        Warning { name: name.into(), reason: Reason::Unreadable(err) }
    }

    fn reports() -> (Reports, Receiver<OsString>) {
        let (say, said) = channel();
        (Reports::new(move |trouble| say.send(trouble.name.clone()).unwrap()), said)
    }

    #[test]
    fn a_trouble_is_reported_once_until_it_was_gone_for_long() {
        let (mut reports, said) = reports();
        let start = Instant::now();
        let nearly = MEMORY - Duration::from_secs(1);
        for (at, troubles, expected) in [
            (start, vec![malformed("1.stats", 1), unreadable("2.stats")], vec!["1.stats", "2.stats"]),
            // More lines are no news, another kind of trouble is.
            (
                start,
                vec![malformed("1.stats", 2), unreadable("1.stats"), unreadable("2.stats")],
                vec!["1.stats"],
            ),
            (start, vec![], vec![]),
            // One that comes and goes is remembered for as long as it does.
            (start + nearly, vec![malformed("1.stats", 1), unreadable("2.stats")], vec![]),
            (start + 2 * nearly, vec![malformed("1.stats", 1)], vec![]),
            (start + 3 * nearly, vec![unreadable("2.stats")], vec!["2.stats"]),
        ] {
            reports.take(&troubles, at);
            assert_eq!(said.try_iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_news_whenever_it_could_be_used_before() {
        let (mut reports, said) = reports();
        let now = Instant::now();
        let unsafe_dir =
            || Warning { name: "/pipes".into(), reason: Reason::Directory { message: "why".into() } };
        for (n, troubles, n_news) in [
            (0, vec![unsafe_dir()], 1),
            (1, vec![unsafe_dir()], 0),
            (2, vec![], 0),
            (3, vec![unsafe_dir()], 1),
        ] {
            reports.take(&troubles, now + Duration::from_millis(n));
            assert_eq!(said.try_iter().count(), n_news, "{n}");
        }
    }

    #[test]
    fn new_names_without_an_end_are_not_told_without_an_end() {
        let (mut reports, said) = reports();
        let start = Instant::now();
        for n in 0..2 * MAX_KNOWN {
            reports.take(&[malformed(&format!("{n}.stats"), 1)], start);
        }
        assert_eq!(said.try_iter().count(), MAX_KNOWN);
        reports.take(&[], start + MEMORY);
        reports.take(&[malformed("new.stats", 1)], start + MEMORY);
        assert_eq!(said.try_iter().count(), 1);
    }
}
