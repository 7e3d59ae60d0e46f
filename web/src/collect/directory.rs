//! Which pipes there are in the directory, and whose of them count.
//!
//! Owns the choice by name, kind and owner. It opens no pipe (see `pipe`), and holds no more of a listing than the
//! entry at hand: a directory may have any number of them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use statvent_core::pipe_name::PIPE_SUFFIX;
use statvent_posix::dir::{DirError, PipeDir};
use statvent_posix::node::Node;

/// The most entries of a directory that are looked at in one collection.
const MAX_ENTRIES: usize = 1 << 20;

/// An open pipe directory, and whose pipes in it are read.
pub(super) struct FilteredDir {
    pub(super) dir: PipeDir,
    /// The users; all of them if there is none.
    allowed_uids: Vec<u32>,
}

/// What a name of the directory is, as far as the listing tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EntryKind {
    /// A pipe's name, and a pipe unless the file system does not tell.
    Pipe,
    /// Another name, or a pipe's name on something that is none.
    Other,
    /// A name that begins with a dot: recorders work under such names for moments.
    Hidden,
}

impl FilteredDir {
    /// Opens the directory; `None` if there is none.
    pub(super) fn open(path: &Path, allowed_uids: &[u32]) -> Result<Option<Self>, DirError> {
        match PipeDir::open(path) {
            Ok(dir) => Ok(Some(Self { dir, allowed_uids: allowed_uids.to_vec() })),
            Err(DirError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Says whether the owner's pipes are read.
    pub(super) fn allows(&self, node: &Node) -> bool {
        self.allowed_uids.is_empty() || self.allowed_uids.contains(&node.owner)
    }

    /// Says whether a name leads to something whose owner is allowed; what cannot be looked at is left to be opened.
    pub(super) fn allows_named(&self, name: &OsStr) -> bool {
        self.allowed_uids.is_empty() || !matches!(self.dir.node(name), Ok(Some(node)) if !self.allows(&node))
    }

    /// Goes through the names in the directory, in no order; one that is renamed over meanwhile may come twice.
    pub(super) fn list(&self, mut on_name: impl FnMut(&OsStr, EntryKind)) -> Result<(), DirError> {
        let failed = |err: nix::Error| DirError::Open { path: self.dir.path().into(), source: err.into() };
        // A descriptor of its own, so that listings do not disturb each other.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listing = Dir::openat(&self.dir, ".", flags, Mode::empty()).map_err(failed)?;
        for entry in listing.iter().take(MAX_ENTRIES) {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                on_name(OsStr::from_bytes(name), kind(name, entry.file_type()));
            }
        }
        Ok(())
    }
}

fn kind(name: &[u8], file_type: Option<Type>) -> EntryKind {
    match file_type {
        _ if name.starts_with(b".") => EntryKind::Hidden,
        Some(Type::Fifo) | None if name.ends_with(PIPE_SUFFIX.as_bytes()) => EntryKind::Pipe,
        _ => EntryKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;

    fn make_fifo(path: &Path) {
        nix::unistd::mkfifo(path, Mode::S_IRUSR).unwrap();
    }

    #[test]
    fn names_are_sorted_out_by_ending_and_kind() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["9.stats", "x.stats", ".7-0.dead", ".stats", "pipe"] {
            make_fifo(&temp.path().join(name));
        }
        fs::write(temp.path().join("8.stats"), "").unwrap();
        fs::write(temp.path().join("notes.txt"), "").unwrap();
        let source = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let mut found = BTreeMap::new();
        source.list(|name, kind| found.extend([(name.to_owned(), kind)])).unwrap();
        let expected = [
            (".7-0.dead", EntryKind::Hidden),
            (".stats", EntryKind::Hidden),
            ("8.stats", EntryKind::Other),
            ("9.stats", EntryKind::Pipe),
            ("notes.txt", EntryKind::Other),
            ("pipe", EntryKind::Other),
            ("x.stats", EntryKind::Pipe),
        ];
        assert_eq!(found, BTreeMap::from(expected.map(|(name, kind)| (name.into(), kind))));
    }

    #[test]
    fn owners_are_all_or_those_that_are_given() {
        let temp = tempfile::tempdir().unwrap();
        make_fifo(&temp.path().join("1.stats"));
        let us = nix::unistd::Uid::effective().as_raw();
        for (allowed, is_allowed) in
            [(&[][..], true), (&[us], true), (&[us + 1], false), (&[us + 1, us], true)]
        {
            let source = FilteredDir::open(temp.path(), allowed).unwrap().unwrap();
            assert_eq!(source.allows_named("1.stats".as_ref()), is_allowed, "{allowed:?}");
            assert!(source.allows_named("gone.stats".as_ref()), "what is missing is found out later");
        }
    }

    #[test]
    fn a_missing_directory_is_no_error() {
        let temp = tempfile::tempdir().unwrap();
        assert!(FilteredDir::open(&temp.path().join("later"), &[]).unwrap().is_none());
    }
}
