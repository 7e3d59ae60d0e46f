//! The filter that reports each warning once until it was absent for a while.
//!
//! A warning is reported when it appears, and again only after it was absent for a while, so a fault that comes and goes is
//! reported once. `collect` creates warnings, and the callback prints them. The caller passes the time.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::mem::discriminant;
use std::time::{Duration, Instant};

use crate::collect::{Reason, Warning};
use crate::limits::{MAX_REMEMBERED_WARNINGS, WARNING_REPEAT_AFTER};

/// Passes new warnings to a callback.
pub(super) struct WarningFilter {
    hasher: RandomState,
    /// When each warning was last present, and how long it is remembered after that.
    ///
    /// The key is a hash, because names may be long. Among so few keys, two collide once in billions of services.
    remembered: HashMap<u64, (Instant, Duration)>,
    on_warning: Box<dyn FnMut(&Warning) + Send>,
}

impl WarningFilter {
    pub(super) fn new(on_warning: impl FnMut(&Warning) + Send + 'static) -> Self {
        Self { hasher: RandomState::new(), remembered: HashMap::new(), on_warning: Box::new(on_warning) }
    }

    /// Reports the new ones among all warnings of a scrape that ended at `now`.
    pub(super) fn report(&mut self, warnings: &[Warning], now: Instant) {
        let mut new = Vec::new();
        for warning in warnings {
            let key = self.key(warning);
            if self.remembered.len() < MAX_REMEMBERED_WARNINGS || self.remembered.contains_key(&key) {
                let before = self.remembered.insert(key, (now, memory(warning)));
                let is_new = before.is_none_or(|(last, _)| now.duration_since(last) >= WARNING_REPEAT_AFTER);
                new.extend(is_new.then_some(warning));
            }
        }
        self.remembered.retain(|_, (last, memory)| *last == now || now.duration_since(*last) < *memory);
        new.into_iter().for_each(|warning| (self.on_warning)(warning));
    }

    /// Returns the key of a warning: its pipe and its kind, without counts of lines or bytes.
    fn key(&self, warning: &Warning) -> u64 {
        let error_kind = match &warning.reason {
            Reason::Unreadable(err) => Some(discriminant(err)),
            _ => None,
        };
        self.hasher.hash_one((&warning.name, discriminant(&warning.reason), error_kind))
    }
}

/// Returns how long a warning is remembered after it was last present.
///
/// Only the owner can change the directory, so a warning about it is reported each time. A hostile writer can make the
/// warnings about its pipe come and go as often as it likes.
const fn memory(warning: &Warning) -> Duration {
    match warning.reason {
        Reason::Directory { .. } => Duration::ZERO,
        _ => WARNING_REPEAT_AFTER,
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

    /// A filter, and the names in the warnings that it reports.
    fn filter() -> (WarningFilter, Receiver<OsString>) {
        let (sender, reported) = channel();
        (WarningFilter::new(move |warning| sender.send(warning.name.clone()).unwrap()), reported)
    }

    #[test]
    fn a_warning_is_reported_once_until_it_was_absent_for_long() {
        let (mut filter, reported) = filter();
        let start = Instant::now();
        let nearly = WARNING_REPEAT_AFTER - Duration::from_secs(1);
        for (at, warnings, expected) in [
            (start, vec![malformed("1.stats", 1), unreadable("2.stats")], vec!["1.stats", "2.stats"]),
            // The number of lines does not make a warning new, another kind does.
            (
                start,
                vec![malformed("1.stats", 2), unreadable("1.stats"), unreadable("2.stats")],
                vec!["1.stats"],
            ),
            (start, vec![], vec![]),
            // A warning that comes and goes stays remembered.
            (start + nearly, vec![malformed("1.stats", 1), unreadable("2.stats")], vec![]),
            (start + 2 * nearly, vec![malformed("1.stats", 1)], vec![]),
            (start + 3 * nearly, vec![unreadable("2.stats")], vec!["2.stats"]),
        ] {
            filter.report(&warnings, at);
            assert_eq!(reported.try_iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_unusable_directory_is_reported_whenever_it_was_usable_before() {
        let (mut filter, reported) = filter();
        let now = Instant::now();
        let unusable_dir =
            || Warning { name: "/pipes".into(), reason: Reason::Directory { message: "why".into() } };
        for (n, warnings, n_new) in [
            (0, vec![unusable_dir()], 1),
            (1, vec![unusable_dir()], 0),
            (2, vec![], 0),
            (3, vec![unusable_dir()], 1),
        ] {
            filter.report(&warnings, now + Duration::from_millis(n));
            assert_eq!(reported.try_iter().count(), n_new, "{n}");
        }
    }

    #[test]
    fn an_endless_stream_of_new_names_is_reported_up_to_the_limit() {
        let (mut filter, reported) = filter();
        let start = Instant::now();
        for n in 0..2 * MAX_REMEMBERED_WARNINGS {
            filter.report(&[malformed(&format!("{n}.stats"), 1)], start);
        }
        assert_eq!(reported.try_iter().count(), MAX_REMEMBERED_WARNINGS);
        filter.report(&[], start + WARNING_REPEAT_AFTER);
        filter.report(&[malformed("new.stats", 1)], start + WARNING_REPEAT_AFTER);
        assert_eq!(reported.try_iter().count(), 1);
    }
}
