//! How many descriptors the service may have, and what they are for.
//!
//! Owns the division between connections and pipes, so that neither takes what the other needs: clients that come by the
//! hundred must not make the processes' stats disappear. It opens nothing. Called by `serve` and `collect` when they start,
//! and by the binary, which asks for as many as it may have.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for what is neither connection nor pipe: the listener, signals, the directory.
const N_OTHERS: usize = 24;

/// The most of each kind, however many there may be.
const AMPLE: Descriptors = Descriptors { n_connections: 256, n_asked: 384, n_kept: 256 };

/// How many descriptors there are for each purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Descriptors {
    /// Connections at a time.
    pub(crate) n_connections: usize,
    /// Pipes that are asked at a time.
    pub(crate) n_asked: usize,
    /// Pipes of late processes that stay open from one collection to the next.
    pub(crate) n_kept: usize,
}

impl Descriptors {
    /// Divides what this process may have.
    pub(crate) fn available() -> Self {
        getrlimit(Resource::RLIMIT_NOFILE).map_or(AMPLE, |(limit, _)| Self::of(limit as usize))
    }

    /// Divides as many as `limit`, in the proportions of what is ample; at least one is for each purpose.
    fn of(limit: usize) -> Self {
        let Self { n_connections, n_asked, n_kept } = AMPLE;
        let n_ample = n_connections + n_asked + n_kept;
        let n_left = limit.saturating_sub(N_OTHERS).min(n_ample);
        let part = |n_of_it: usize| (n_of_it * n_left / n_ample).max(1);
        Self { n_connections: part(n_connections), n_asked: part(n_asked), n_kept: part(n_kept) }
    }
}

/// Lets this process have as many descriptors as it may ask for.
///
/// # Errors
/// What the system answers; then it stays with those that it has.
pub fn raise_limit() -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_fit_the_limit_and_none_is_empty() {
        for limit in 0..2000 {
            let Descriptors { n_connections, n_asked, n_kept } = Descriptors::of(limit);
            assert!(n_connections > 0 && n_asked > 0 && n_kept > 0, "{limit}");
            let n_taken = n_connections + n_asked + n_kept + N_OTHERS;
            assert!(n_taken <= limit.max(N_OTHERS + 5), "{limit}");
        }
        assert_eq!(Descriptors::of(1024), AMPLE, "the usual limit is ample");
    }
}
