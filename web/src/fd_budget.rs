//! The division of file descriptors between connections and pipes.
//!
//! Connections and pipes have budgets of their own: hundreds of clients must not leave too few descriptors for the
//! pipes of processes. This file opens nothing.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::limits::{MAX_CONNECTIONS, MAX_PROBES, MAX_SILENT_PIPES, N_OTHER_FDS};

/// The budget if the system allows enough descriptors.
const FULL: FdBudget =
    FdBudget { n_connections: MAX_CONNECTIONS, n_probes: MAX_PROBES, n_silent_pipes: MAX_SILENT_PIPES };

/// The number of file descriptors for each purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FdBudget {
    /// Connections at the same time.
    pub(crate) n_connections: usize,
    /// Pipes that are probed at the same time.
    pub(crate) n_probes: usize,
    /// Pipes of silent processes that stay open from one scrape to the next.
    pub(crate) n_silent_pipes: usize,
}

impl FdBudget {
    /// Divides the soft limit of this process.
    pub(crate) fn from_system() -> Self {
        getrlimit(Resource::RLIMIT_NOFILE).map_or(FULL, |(limit, _)| Self::divide(limit as usize))
    }

    /// Divides `limit` descriptors in the proportions of the full budget; each purpose has at least one.
    fn divide(limit: usize) -> Self {
        let FdBudget { n_connections, n_probes, n_silent_pipes } = FULL;
        let n_full = n_connections + n_probes + n_silent_pipes;
        let n_available = limit.saturating_sub(N_OTHER_FDS).min(n_full);
        let share = |n_fds: usize| (n_fds * n_available / n_full).max(1);
        Self {
            n_connections: share(n_connections),
            n_probes: share(n_probes),
            n_silent_pipes: share(n_silent_pipes),
        }
    }
}

/// Raises this process's soft limit of file descriptors to its hard limit.
///
/// `setrlimit`: <https://man7.org/linux/man-pages/man2/setrlimit.2.html>.
///
/// # Errors
/// The error of the system; the limit is unchanged then.
pub fn raise_fd_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_fit_the_limit_and_none_is_empty() {
        for limit in 0..2000 {
            let FdBudget { n_connections, n_probes, n_silent_pipes } = FdBudget::divide(limit);
            assert!(n_connections > 0 && n_probes > 0 && n_silent_pipes > 0, "{limit}");
            let n_used = n_connections + n_probes + n_silent_pipes + N_OTHER_FDS;
            assert!(n_used <= limit.max(N_OTHER_FDS + 5), "{limit}");
        }
        assert_eq!(FdBudget::divide(1024), FULL, "the usual limit is enough");
    }
}
