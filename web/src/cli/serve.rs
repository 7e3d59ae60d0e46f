//! Serving, which is what is done without a subcommand: its options, and the order of starting and ending.
//!
//! Everything that serves is in the library. What is wrong with processes goes to standard error.

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread;

use lexopt::prelude::*;
use statvent_web::collect::Warning;
use statvent_web::descriptors::raise_limit;
use statvent_web::limits::MAX_PIPES;
use statvent_web::serve::{Config, Service};

use super::args::{Args, Run, Stop, Subcommand, parse_text};
use super::demo::Demo;
use super::malloc::configure_malloc;
use super::shutdown::runtime_and_signal;
use super::stderr::log_line;

/// The row of the table.
pub(crate) const SERVE: Subcommand = Subcommand {
    name: "",
    summary: "sums the stats of every process of this host and serves them as JSON",
    usage: "[options]",
    details: "
  -p, --port PORT       port to serve on; 0 picks a free one [7828]
  -i, --ip ADDRESS      address to serve on [127.0.0.1]
  -l, --path PATH       path of the stats [/stats]
  -d, --pipe-dir DIR    directory of the pipes [$STATVENT_PIPE_DIR, or /tmp/stats-pipe]
      --allow-uid UID   read the pipes of this user alone, by number; may be given again [all users]
      --deadline TIME   how long a process may take to answer: 500ms, 2s, 1 [1s]
      --demo [N]        start N small processes with stats of their own and serve them [3]
  -h, --help            print this
  -V, --version         print the version
",
    parse: |args| Options::parse(args).map(|options| Box::new(|| run(options)) as Run),
};

const DEFAULT_DEMO_WORKERS: u16 = 3;
const MAX_DEMO_WORKERS: u16 = 64;

/// What to serve, and where.
#[derive(Debug)]
struct Options {
    /// The port is 0 for a free one.
    address: SocketAddr,
    /// The directory of the pipes, if it is given.
    pipe_dir: Option<PathBuf>,
    /// The number of processes of the demo.
    n_demo_workers: Option<u16>,
    config: Config,
}

impl Options {
    fn parse(mut args: Args) -> Result<Self, Stop> {
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

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let Options { address, pipe_dir, n_demo_workers, mut config } = options;
    configure_malloc();
    // With fewer descriptors it serves fewer clients at a time.
    let _ = raise_limit();
    let listener = bind(address)?;
    let address = listener.local_addr()?;
    let (runtime, shutdown) = runtime_and_signal()?;
    let demo = n_demo_workers.map(|n_workers| Demo::start(n_workers, pipe_dir.clone())).transpose()?;
    let demo_dir = demo.as_ref().map(|demo| demo.pipe_dir.clone());
    config.pipe_dir = demo_dir.or(pipe_dir).unwrap_or(config.pipe_dir);
    let stats_path = config.stats_path.clone();
    let service = Service::start_reporting(config, reporter())?;
    log_line(format_args!("listening on http://{address}"));
    if let Some(demo) = &demo {
        log_line(format_args!("try:  curl http://{address}{stats_path}"));
        log_line(format_args!("      cat {}", demo.pipe_path.display()));
    }
    runtime.block_on(service.serve(listener, shutdown))?;
    Ok(())
}

fn bind(address: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(address).map_err(|err| {
        let advice = match err.kind() {
            io::ErrorKind::AddrInUse => {
                "stop what listens there, or choose another --port (0 picks a free one)"
            }
            io::ErrorKind::PermissionDenied => "choose a --port from 1024 on",
            io::ErrorKind::AddrNotAvailable => "choose an --ip of this host",
            _ => "choose another --ip or --port",
        };
        format!("cannot listen on {address}: {err}: {advice}").into()
    })
}

/// Returns a way to standard error that never waits: a reader of it that stopped must not stop the collector.
fn reporter() -> impl FnMut(&Warning) + Send {
    let (report, reports) = sync_channel(MAX_PIPES);
    thread::spawn(move || {
        for line in reports {
            log_line(format_args!("statvent-web: {line}"));
        }
    });
    move |trouble| {
        // What does not fit is lost: by then there is enough to read.
        let _ = report.try_send(trouble.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::time::Duration;

    fn parse(words: &str) -> Result<Options, Stop> {
        Options::parse(Args::new(words.split_whitespace().map(OsString::from)))
    }

    fn options(words: &str) -> Options {
        parse(words).unwrap_or_else(|err| panic!("{words}: {err:?}"))
    }

    #[test]
    fn ok_defaults_are_those_of_the_help_text() {
        let Options { address, config: Config { stats_path, deadline, .. }, .. } = options("");
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
            let Options { address, pipe_dir, n_demo_workers, config } = options(words);
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
        assert!(matches!(parse("-p 1 -h"), Err(Stop::Help)));
        assert!(matches!(parse("--version"), Err(Stop::Version)));
    }

    #[test]
    fn err_values_of_the_wrong_kind() {
        for words in ["-l /a?b", "-l /a#", "--deadline 1m", "--demo 65", "-p -1"] {
            assert!(matches!(parse(words), Err(Stop::Error(lexopt::Error::Custom(_)))), "{words}");
        }
    }
}
