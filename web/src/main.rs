//! The binary `statvent-web`: reads the command line and wires the parts.
//!
//! Owns the order of starting and ending, and the exit status: 0, 1 when it cannot run, 2 for a command line that is
//! not understood. Everything else is in the library, `args`, `bridge` and `demo`.

#![deny(unsafe_code)]

mod args;
mod bridge;
mod demo;
#[allow(unsafe_code, reason = "no safe call sets what the allocator does")]
mod heap;

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread;

use args::{Command, Options};
use bridge::{Bridge, Input};
use demo::Demo;
use statvent_web::collect::{MAX_PIPES, Trouble};
use statvent_web::descriptors::raise_limit;
use statvent_web::serve::{Config, Service};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let done = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(options)) => serve(options),
        Ok(Command::DemoWorker(pipe_dir)) => demo::worker::run(&pipe_dir).map_err(Into::into),
        Ok(Command::DemoWorkerInTemp(pipe_dir)) => demo::worker::run_in_temp(&pipe_dir).map_err(Into::into),
        Ok(Command::Bridge(options)) => bridge(options),
        Ok(Command::Help) => print(args::HELP),
        Ok(Command::BridgeHelp) => print(bridge::HELP),
        Ok(Command::Version) => print(concat!("statvent-web ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(err) => {
            complain(&err);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            complain(&*err);
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    heap::keep_small();
    // With fewer it serves fewer at a time.
    let _ = raise_limit();
    let listener = bind(SocketAddr::new(options.ip, options.port))?;
    let address = listener.local_addr()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    // From here on the signals ask for an orderly end.
    let shutdown = runtime.block_on(async { shutdown() })?;
    let demo = match options.n_demo_workers {
        Some(n_workers) => Some(Demo::start(n_workers, options.pipe_dir.clone())?),
        None => None,
    };
    let defaults = Config::default();
    let pipe_dir = demo.as_ref().map(|demo| demo.pipe_dir().to_owned()).or(options.pipe_dir);
    let config = Config {
        pipe_dir: pipe_dir.unwrap_or(defaults.pipe_dir),
        stats_path: options.stats_path.clone(),
        deadline: options.deadline,
        client_deadline: defaults.client_deadline,
        allowed_uids: options.allowed_uids.clone(),
    };
    let service = Service::start_reporting(config, reporter())?;
    say(format_args!("listening on http://{address}"));
    if let Some(demo) = &demo {
        say(format_args!("try:  curl http://{address}{}", options.stats_path));
        say(format_args!("      cat {}", demo.pipe_path().display()));
    }
    runtime.block_on(service.serve(listener, shutdown))?;
    Ok(())
}

fn bridge(options: bridge::Options) -> Result<(), Box<dyn Error>> {
    // This may wait for a device; signals end the process meanwhile, which has published nothing yet.
    let input = Input::open(options.input.clone())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let shutdown = runtime.block_on(async { shutdown() })?;
    let bridge = Bridge::start(options, input)?;
    say(format_args!("publishing {}", bridge.pipe_path().display()));
    runtime.block_on(bridge.run(shutdown))?;
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

/// Returns a way to standard error that never waits: the collector goes on though nobody reads that.
fn reporter() -> impl FnMut(&Trouble) + Send {
    let (report, reported) = sync_channel(MAX_PIPES);
    thread::spawn(move || {
        for line in reported {
            say(format_args!("statvent-web: {line}"));
        }
    });
    move |trouble| {
        // What does not fit is lost: by then there is enough to read.
        let _ = report.try_send(trouble.to_string());
    }
}

/// Returns a future that is ready at the first SIGTERM or SIGINT from now on. Needs a runtime.
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    Ok(async move { std::future::poll_fn(|cx| poll_any(&mut signals, cx)).await })
}

fn poll_any(signals: &mut [Signal], cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
    // Each is polled, so that each wakes us.
    let n_came =
        signals.iter_mut().filter_map(|signal| signal.poll_recv(cx).is_ready().then_some(())).count();
    if n_came > 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
}

fn print(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// Says an error with its causes.
fn complain(err: &dyn Error) {
    let mut text = format!("statvent-web: {err}");
    let mut cause = err.source();
    while let Some(err) = cause {
        text += &format!(": {err}");
        cause = err.source();
    }
    say(format_args!("{text}"));
}

/// Writes a line to standard error; whoever closed it does not want to know.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
