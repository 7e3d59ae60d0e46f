//! Which troubles are news.
//!
//! Owns what was reported already: a trouble is reported when it appears, and again only after it was gone. It does
//! not print (see `main`) and finds nothing out (see `collect`). Called by `answers` after each collection.

use std::collections::HashSet;
use std::ffi::OsString;
use std::mem::{Discriminant, discriminant};

use crate::collect::{Reason, Trouble};

/// Reports to one who listens.
pub(super) struct Reports {
    /// Bounded as the troubles of a collection are.
    known: HashSet<(OsString, Discriminant<Reason>)>,
    on_trouble: Box<dyn FnMut(&Trouble) + Send>,
}

impl Reports {
    pub(super) fn new(on_trouble: impl FnMut(&Trouble) + Send + 'static) -> Self {
        Self { known: HashSet::new(), on_trouble: Box::new(on_trouble) }
    }

    /// Takes all troubles of a collection and reports those that were not there in the last one.
    pub(super) fn take(&mut self, troubles: &[Trouble]) {
        let known = troubles.iter().map(|trouble| (trouble.name.clone(), discriminant(&trouble.reason)));
        let before = std::mem::replace(&mut self.known, known.collect());
        for trouble in troubles {
            if !before.contains(&(trouble.name.clone(), discriminant(&trouble.reason))) {
                (self.on_trouble)(trouble);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::PipeError;
    use std::io::ErrorKind;
    use std::sync::mpsc::channel;

    fn malformed(name: &str, n_lines: usize) -> Trouble {
        Trouble { name: name.into(), reason: Reason::Malformed { n_lines } }
    }

    fn unreadable(name: &str) -> Trouble {
        let err = PipeError::System(ErrorKind::PermissionDenied.into());
        Trouble { name: name.into(), reason: Reason::Unreadable(err) }
    }

    #[test]
    fn a_trouble_is_reported_once_until_it_was_gone() {
        let (say, said) = channel();
        let mut reports = Reports::new(move |trouble| say.send(trouble.name.clone()).unwrap());
        for (troubles, expected) in [
            (vec![malformed("1.stats", 1), unreadable("2.stats")], vec!["1.stats", "2.stats"]),
            // More lines are no news, another kind of trouble is.
            (vec![malformed("1.stats", 2), unreadable("1.stats"), unreadable("2.stats")], vec!["1.stats"]),
            (vec![unreadable("2.stats")], vec![]),
            (vec![malformed("1.stats", 1), unreadable("2.stats")], vec!["1.stats"]),
        ] {
            reports.take(&troubles);
            assert_eq!(said.try_iter().collect::<Vec<_>>(), expected);
        }
    }
}
