//! Pipe owners: all users, or only the allowed ones; and directories that others may write.

use nix::unistd::Uid;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{LONG_DEADLINE, Program, UNPRIVILEGED_UID, pipe_dir, serve_args, set_mode};

#[test]
fn pipes_of_users_who_are_not_allowed_are_ignored() {
    static STATS: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    set_mode(dir.path(), 0o1777);
    STATS.incr("hits", 7);
    let recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let our_uid = Uid::effective().as_raw();
    // Only root can start a process as another user.
    let other = Uid::effective().is_root().then(|| Program::start_unprivileged_worker(dir.path()));
    let n_others = u64::from(other.is_some());
    let [our_arg, other_arg] = [our_uid, UNPRIVILEGED_UID].map(|uid| uid.to_string());
    let is_other = our_uid != UNPRIVILEGED_UID;
    for (allowed, counts) in [
        (&[][..], [1 + n_others, 0, 0, 0, 0]),
        (&[&our_arg, &other_arg], [1 + n_others, 0, 0, 0, 0]),
        (&[&our_arg], [1, 0, 0, 0, n_others]),
        (&[&other_arg], if is_other { [n_others, 0, 0, 0, 1] } else { [1, 0, 0, 0, 0] }),
    ] {
        let options = allowed.iter().flat_map(|uid| ["--allow-uid", uid]);
        let service = Program::start(
            serve_args(dir.path(), LONG_DEADLINE).into_iter().chain(options.map(str::to_owned)),
        );
        let client = service.client();
        for _ in 0..3 {
            let reply = client.get("/stats");
            assert_eq!(reply.counts(), counts, "{allowed:?}");
            let n_hits = reply.stat("hits").as_u64();
            let is_ours = allowed.is_empty() || allowed.contains(&&our_arg);
            assert_eq!(n_hits, is_ours.then_some(7), "{allowed:?}");
        }
    }
    drop(recorder);
}

#[test]
fn a_group_writable_directory_without_the_sticky_bit_is_refused_with_advice() {
    let dir = pipe_dir();
    set_mode(dir.path(), 0o775);
    let path = dir.path().to_str().unwrap();
    let service = Program::start(["-p", "0", "-d", path]);
    let expected = format!(
        "statvent-web: pipe directory {path} has mode 0775, in which others may replace pipes: `chmod 755 {path}` if \
         only its owner publishes there, `chmod 1777 {path}` if several users do"
    );
    assert_eq!(service.line("the reason why it does not start"), expected);
    assert_eq!(service.wait().code(), Some(1));
}
