//! Tests of the pipe directory: creation, listing, checks and their error messages.
//!
//! As root, some tests give a directory to another user.

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn with_mode(mode: u32) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), Permissions::from_mode(mode)).unwrap();
    temp
}

#[test]
fn a_missing_directory_is_created_with_its_parents() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a/b");
    assert!(matches!(PipeDir::open(&path), Err(DirError::Open { .. })));
    let dir = PipeDir::create(&path).unwrap();
    assert_eq!(dir.path(), path);
    assert_eq!((mode(&temp.path().join("a")), mode(&path)), (0o755, 0o755));
    assert_eq!(PipeDir::create(&path).unwrap().id(), dir.id());
}

#[test]
fn a_directory_that_was_replaced_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a");
    let dir = PipeDir::create(&path).unwrap();
    assert!(dir.path_refers_here().unwrap());
    fs::rename(&path, temp.path().join("b")).unwrap();
    assert!(!dir.path_refers_here().unwrap());
    PipeDir::create(&path).unwrap();
    assert!(!dir.path_refers_here().unwrap());
}

#[test]
fn names_are_all_but_the_dots() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join(".hidden"), "").unwrap();
    fs::write(temp.path().join(OsStr::from_bytes(b"\xff.stats")), "").unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    for _ in 0..2 {
        let mut names = dir.names().unwrap();
        names.sort();
        assert_eq!(names, [OsStr::new(".hidden"), OsStr::from_bytes(b"\xff.stats")]);
    }
}

#[test]
fn a_directory_for_several_users_is_sticky() {
    let temp = with_mode(0o1777);
    PipeDir::create(temp.path()).unwrap();
    PipeDir::open(temp.path()).unwrap();
}

#[test]
fn a_directory_that_others_may_change_is_refused() {
    for refused in [0o777, 0o775, 0o757] {
        let temp = with_mode(refused);
        let path = temp.path().display();
        let message = format!(
            "pipe directory {path} has mode 0{refused:o}, in which others may replace pipes: `chmod 755 {path}` if \
             only its owner publishes there, `chmod 1777 {path}` if several users do"
        );
        assert_eq!(PipeDir::create(temp.path()).unwrap_err().to_string(), message);
        assert_eq!(PipeDir::open(temp.path()).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_directory_of_another_user_is_read_but_not_published_in() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().display();
    let dir = PipeDir::open(temp.path()).unwrap();
    let owner = dir.own_stat().unwrap().owner;
    // Root can give a directory to another user. Otherwise, check our own directory as another user would.
    let (owner, user) = if owner == 0 { (1234, Uid::effective()) } else { (owner, Uid::from_raw(owner + 1)) };
    if Uid::effective().is_root() {
        chown(temp.path(), Some(owner), None).unwrap();
    }
    assert_eq!(
        dir.check_owner(user).unwrap_err().to_string(),
        format!(
            "pipe directory {path} belongs to user {owner}, expected {user} (this process) or 0 (root): for several users let \
             root own it (`chown root {path} && chmod 1777 {path}`), or choose another directory (STATVENT_PIPE_DIR \
             names the default one)"
        )
    );
    PipeDir::open(temp.path()).unwrap();
    if Uid::effective().is_root() {
        assert!(matches!(PipeDir::create(temp.path()), Err(DirError::ForeignOwner { .. })));
    }
}

#[test]
fn symbolic_links_and_files_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("real")).unwrap();
    symlink("real", temp.path().join("link")).unwrap();
    fs::write(temp.path().join("file"), "").unwrap();
    for name in ["link", "link/", "link//", "link/.", "file", "file/"] {
        let path = temp.path().join(name);
        assert!(matches!(PipeDir::open(&path), Err(DirError::NotDirectory { .. })), "{name}");
        assert_eq!(
            PipeDir::create(&path).unwrap_err().to_string(),
            format!(
                "{} is not a directory but a file or a link: move it away, or choose another directory \
                 (STATVENT_PIPE_DIR names the default one)",
                temp.path().join(&name[..4]).display()
            )
        );
    }
}

#[test]
fn a_path_below_a_file_is_refused_with_the_error_of_the_system() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "").unwrap();
    let err = PipeDir::open(&temp.path().join("file/pipes")).unwrap_err();
    let DirError::Open { source, .. } = err else { panic!("{err:?}") };
    assert_eq!(source.raw_os_error(), Some(libc::ENOTDIR));
}

#[test]
fn a_slash_at_the_end_does_not_matter() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PipeDir::create(&temp.path().join("a//")).unwrap();
    assert_eq!(dir.path(), temp.path().join("a"));
    assert!(!dir.path().as_os_str().as_bytes().ends_with(b"/"));
    assert!(dir.path_refers_here().unwrap());
    assert_eq!(PipeDir::open(Path::new("//")).unwrap().path(), Path::new("/"));
}

#[test]
fn an_error_of_the_system_is_the_source() {
    use std::error::Error;
    let path = Path::new("/proc/self/stats-pipe");
    let err = PipeDir::create(path).unwrap_err();
    assert_eq!(
        err.to_string(),
        "pipe directory /proc/self/stats-pipe cannot be created: create it, or choose another directory \
         (STATVENT_PIPE_DIR names the default one)"
    );
    assert!(err.source().is_some());
    assert_eq!(
        PipeDir::open(path).unwrap_err().to_string(),
        "pipe directory /proc/self/stats-pipe cannot be opened: make it readable, or choose another \
         directory (STATVENT_PIPE_DIR names the default one)"
    );
}

#[test]
fn debug_shows_the_sentence_and_its_cause() {
    let path = PathBuf::from("/run/pipes");
    let err = DirError::Create { path: path.clone(), source: io::Error::from_raw_os_error(libc::ENOSPC) };
    assert_eq!(
        format!("{err:?}"),
        "pipe directory /run/pipes cannot be created: create it, or choose another directory (STATVENT_PIPE_DIR names \
         the default one): No space left on device (os error 28)"
    );
    let err = DirError::Open { path: path.clone(), source: io::Error::from_raw_os_error(libc::EMFILE) };
    assert_eq!(
        format!("{err:?}"),
        "pipe directory /run/pipes cannot be opened: no descriptor is left: raise the limit of open files (`ulimit \
         -n`; fs.file-max for the whole system): Too many open files (os error 24)"
    );
    let err = DirError::NotDirectory { path };
    assert_eq!(format!("{err:?}"), err.to_string());
}
