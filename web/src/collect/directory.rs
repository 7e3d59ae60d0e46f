//! Listing of the pipe directory: the names that are pipes, filtered by their owners.
//!
//! Owns the choice by name, kind and owner. It must not open a pipe (see `pipe`). It keeps no list of the entries, because a
//! directory may have any number of them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use statvent_posix::dir::{DirError, PipeDir};
use statvent_posix::pipe_name::PIPE_EXTENSION;
use statvent_posix::stat::FileStat;

use crate::limits::MAX_ENTRIES;

/// An open pipe directory, and the users whose pipes in it are read.
pub(super) struct FilteredDir {
    pub(super) pipe_dir: PipeDir,
    /// Empty: all users.
    allowed_uids: Vec<u32>,
}

/// The kind of a directory entry, as far as the listing shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EntryKind {
    /// A pipe by its name and its file type, or only by its name if the file system does not report file types.
    Pipe,
    /// Another name, or the name of a pipe on another kind of file.
    Other,
    /// A name that begins with a dot: staging names and tombstones.
    Hidden,
}

impl FilteredDir {
    /// Opens the directory; `None` if there is none.
    pub(super) fn open(path: &Path, allowed_uids: &[u32]) -> Result<Option<Self>, DirError> {
        match PipeDir::open(path) {
            Ok(pipe_dir) => Ok(Some(Self { pipe_dir, allowed_uids: allowed_uids.to_vec() })),
            Err(DirError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Returns whether pipes of this owner are read.
    pub(super) fn allows(&self, node: &FileStat) -> bool {
        self.allowed_uids.is_empty() || self.allowed_uids.contains(&node.owner)
    }

    /// Returns whether the owner of the file with this name is allowed; `true` if that is unknown, because opening the file
    /// checks it again.
    pub(super) fn allows_named(&self, name: &OsStr) -> bool {
        self.allowed_uids.is_empty()
            || !matches!(self.pipe_dir.stat(name), Ok(Some(node)) if !self.allows(&node))
    }

    /// Calls `on_name` for every entry, in no order; a name that is replaced meanwhile may come twice.
    pub(super) fn list(&self, mut on_name: impl FnMut(&OsStr, EntryKind)) -> Result<(), DirError> {
        let failed =
            |err: nix::Error| DirError::Open { path: self.pipe_dir.path().into(), source: err.into() };
        // A descriptor of its own: concurrent listings do not share a position.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listing = Dir::openat(&self.pipe_dir, ".", flags, Mode::empty()).map_err(failed)?;
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
        Some(Type::Fifo) | None if name.ends_with(PIPE_EXTENSION.as_bytes()) => EntryKind::Pipe,
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
    fn entries_are_classified_by_name_and_kind() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["9.stats", "x.stats", ".7-0.dead", ".stats", "pipe"] {
            make_fifo(&temp.path().join(name));
        }
        fs::write(temp.path().join("8.stats"), "").unwrap();
        fs::write(temp.path().join("notes.txt"), "").unwrap();
        let dir = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let mut found = BTreeMap::new();
        dir.list(|name, kind| found.extend([(name.to_owned(), kind)])).unwrap();
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
    fn all_owners_are_allowed_or_the_given_ones() {
        let temp = tempfile::tempdir().unwrap();
        make_fifo(&temp.path().join("1.stats"));
        let us = nix::unistd::Uid::effective().as_raw();
        for (allowed, is_allowed) in
            [(&[][..], true), (&[us], true), (&[us + 1], false), (&[us + 1, us], true)]
        {
            let dir = FilteredDir::open(temp.path(), allowed).unwrap().unwrap();
            assert_eq!(dir.allows_named("1.stats".as_ref()), is_allowed, "{allowed:?}");
            assert!(dir.allows_named("gone.stats".as_ref()), "opening it reports that it is missing");
        }
    }

    #[test]
    fn a_missing_directory_is_no_error() {
        let temp = tempfile::tempdir().unwrap();
        assert!(FilteredDir::open(&temp.path().join("later"), &[]).unwrap().is_none());
    }
}
