//! The service as a subcommand: its options, and its order of start and end.
//!
//! Everything that serves is in the library. Warnings about processes are printed on standard error.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread;

use lexopt::prelude::*;
use statvent_web::collect::Warning;
use statvent_web::fd_budget::raise_fd_limit;
use statvent_web::serve::{Config, Service};

use super::args::{Action, Args, EarlyExit, Subcommand, parse_text};
use super::demo::Demo;
use super::error::RunError;
use super::limits::{DEFAULT_DEMO_WORKERS, MAX_DEMO_WORKERS, MAX_QUEUED_WARNINGS};
use super::malloc::configure_malloc;
use super::shutdown::runtime_and_signal;
use super::stderr::log_line;

/// Its row in the table of subcommands.
pub(crate) const SERVE: Subcommand = Subcommand {
    name: "",
    summary: "sums the stats of every process of this host and serves them as JSON",
    usage: "[options]",
    details: "
  -p, --port PORT       port to serve on; 0 picks a free one [7828]
  -i, --ip ADDRESS      address to serve on [127.0.0.1]
  -l, --path PATH       path of the stats [/stats]
  -d, --pipe-dir DIR    directory of the pipes [$STATVENT_PIPE_DIR, or /tmp/stats-pipe]
      --allow-uid UID   read only the pipes of this user, by number; repeatable [all users]
      --deadline TIME   how long a process may take to answer: 500ms, 2s, 1 [1s]
      --demo [N]        start N small processes with stats of their own and serve them [3]
  -h, --help            print this
  -V, --version         print the version
",
    parse: |args| ServeOptions::parse(args).map(|options| Box::new(|| run(options)) as Action),
};

/// The options of the service.
#[derive(Debug)]
struct ServeOptions {
    /// The address to listen on; port 0 picks a free one.
    address: SocketAddr,
    /// The pipe directory, if it was given.
    pipe_dir: Option<PathBuf>,
    /// The number of processes of the demo; `None` without a demo.
    n_demo_workers: Option<u16>,
    config: Config,
}

impl ServeOptions {
    fn parse(mut args: Args) -> Result<Self, EarlyExit> {
        let mut options = Self {
            address: (Ipv4Addr::LOCALHOST, 7828).into(),
            pipe_dir: None,
            n_demo_workers: None,
            config: Config::default(),
        };
        while let Some(arg) = args.next()? {
            match arg {
                Short('p') | Long("port") => {
                    options.address.set_port(args.value("--port", "a number from 0 to 65535", parse_text)?);
                }
                Short('i') | Long("ip") => {
                    let expected = "an IP address, as in 127.0.0.1 or ::1";
                    options.address.set_ip(args.value("--ip", expected, parse_text)?);
                }
                Short('l') | Long("path") => {
                    let expected =
                        "a path that begins with a slash, as in /stats, without white space, ? and #";
                    options.config.stats_path = args.value("--path", expected, parse_path)?;
                }
                Short('d') | Long("pipe-dir") => options.pipe_dir = Some(args.pipe_dir()?),
                Long("allow-uid") => options.config.allowed_uids.push(args.uid()?),
                Long("deadline") => options.config.deadline = args.deadline()?,
                Long("demo") => {
                    let expected = "a number of processes from 1 to 64";
                    options.n_demo_workers = Some(match args.has_number() {
                        true => args.value("--demo", expected, parse_n_workers)?,
                        false => DEFAULT_DEMO_WORKERS,
                    });
                }
                _ => return Err(arg.unexpected().into()),
            }
        }
        Ok(options)
    }
}

fn parse_path(word: &OsStr) -> Option<String> {
    let path = word.to_str()?;
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    (path.starts_with('/') && is_plain).then(|| path.to_owned())
}

fn parse_n_workers(word: &OsStr) -> Option<u16> {
    parse_text(word).filter(|n_workers| (1..=MAX_DEMO_WORKERS).contains(n_workers))
}

fn run(options: ServeOptions) -> Result<(), RunError> {
    let ServeOptions { address, pipe_dir, n_demo_workers, mut config } = options;
    configure_malloc();
    // If this fails, the service has fewer descriptors and serves fewer clients at the same time.
    let _ = raise_fd_limit();
    let (listener, address) = listen(address).map_err(|err| RunError::Listen { address, err })?;
    let (runtime, shutdown) = runtime_and_signal()?;
    let demo = n_demo_workers.map(|n_workers| Demo::start(n_workers, pipe_dir.clone())).transpose()?;
    let demo_dir = demo.as_ref().map(|demo| demo.pipe_dir.clone());
    config.pipe_dir = demo_dir.or(pipe_dir).unwrap_or(config.pipe_dir);
    let stats_path = config.stats_path.clone();
    let service = Service::start_reporting(config, warning_printer())?;
    log_line(format_args!("listening on http://{address}"));
    if let Some(demo) = &demo {
        log_line(format_args!("try:  curl http://{address}{stats_path}"));
        log_line(format_args!("      cat {}", demo.pipe_path.display()));
    }
    runtime.block_on(service.serve(listener, shutdown))?;
    Ok(())
}

/// Returns a listener and its address, in which port 0 is replaced.
fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Returns a callback that prints warnings and never blocks: a reader of standard error that has stopped must not stop the
/// collector.
fn warning_printer() -> impl FnMut(&Warning) + Send {
    let (sender, lines) = sync_channel(MAX_QUEUED_WARNINGS);
    thread::spawn(move || {
        for line in lines {
            log_line(format_args!("statvent-web: {line}"));
        }
    });
    move |warning| {
        // If the queue is full, the warning is dropped: thousands of lines wait to be read already.
        let _ = sender.try_send(warning.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::UsageError;
    use std::ffi::OsString;
    use std::time::Duration;

    fn parse(words: &str) -> Result<ServeOptions, EarlyExit> {
        ServeOptions::parse(Args::new(words.split_whitespace().map(OsString::from)))
    }

    fn options(words: &str) -> ServeOptions {
        parse(words).unwrap_or_else(|err| panic!("{words}: {err:?}"))
    }

    #[test]
    fn ok_defaults_match_the_help_text() {
        let ServeOptions { address, config: Config { stats_path, deadline, .. }, .. } = options("");
        for default in
            [address.port().to_string(), address.ip().to_string(), stats_path, format!("{deadline:?}")]
        {
            assert!(SERVE.details.contains(&format!("[{default}]")), "{default}");
        }
        assert!(SERVE.details.contains(&format!("serve them [{DEFAULT_DEMO_WORKERS}]")));
    }

    #[test]
    fn ok_long_and_short_options() {
        for words in [
            "-p0 -i ::1 -l /all/stats -d /run/pipes",
            "--port=0 --ip ::1 --path /all/stats --pipe-dir=/run/pipes",
        ] {
            let ServeOptions { address, pipe_dir, n_demo_workers, config } = options(words);
            assert_eq!((address.to_string().as_str(), n_demo_workers), ("[::1]:0", None), "{words}");
            assert_eq!((pipe_dir, &*config.stats_path), (Some("/run/pipes".into()), "/all/stats"), "{words}");
        }
    }

    #[test]
    fn ok_deadline_and_several_users() {
        let config = options("--deadline 2s --allow-uid 0 --allow-uid=65534").config;
        assert_eq!((config.deadline, &*config.allowed_uids), (Duration::from_secs(2), &[0, 65_534][..]));
    }

    #[test]
    fn ok_demo_with_and_without_a_number() {
        for (words, n_workers) in [("--demo", 3), ("--demo 5", 5), ("--demo=1", 1), ("--demo -p 0", 3)] {
            assert_eq!(options(words).n_demo_workers, Some(n_workers), "{words}");
        }
        assert_eq!(options("").n_demo_workers, None);
    }

    #[test]
    fn ok_help_and_version() {
        assert!(matches!(parse("-p 1 -h"), Err(EarlyExit::Help)));
        assert!(matches!(parse("--version"), Err(EarlyExit::Version)));
    }

    #[test]
    fn err_values_of_the_wrong_kind() {
        for words in ["-l /a?b", "-l /a#", "--deadline 1m", "--demo 65", "-p -1"] {
            assert!(matches!(parse(words), Err(EarlyExit::Usage(UsageError::Value { .. }))), "{words}");
        }
    }
}
