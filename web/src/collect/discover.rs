//! Which names of the pipe directory are those of pipes.
//!
//! Owns the choice by name. It opens nothing: what a name leads to is looked at in `pipe`. Called by the collector,
//! which bounds how many are asked.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use statvent_core::pipe_name::PIPE_SUFFIX;

/// The names of a directory, sorted out.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    /// Those that end with `.stats`, in order and each once.
    pub(super) names: Vec<OsString>,
    /// How many do not end with `.stats`.
    pub(super) n_foreign: usize,
}

/// Sorts out the names of a directory.
///
/// Names that begin with a dot count as nothing at all: recorders work under such names for moments.
pub(super) fn discover(names: Vec<OsString>) -> Found {
    let visible = names.into_iter().filter(|name| !name.as_bytes().starts_with(b"."));
    let (mut names, foreign): (Vec<_>, Vec<_>) = visible.partition(|name| is_pipe_name(name));
    names.sort_unstable();
    // A listing may show a name twice that is renamed over meanwhile.
    names.dedup();
    Found { names, n_foreign: foreign.len() }
}

fn is_pipe_name(name: &OsStr) -> bool {
    name.as_bytes().ends_with(PIPE_SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_out_and_in_order() {
        let names = ["9.stats", "10.stats", "notes.txt", ".7-0.dead", ".stats", "x.stats", "9.stats"];
        let found = discover(names.map(OsString::from).to_vec());
        assert_eq!(found.names, ["10.stats", "9.stats", "x.stats"]);
        assert_eq!(found.n_foreign, 1);
    }
}
