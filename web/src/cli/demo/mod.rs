//! The demo: processes with example stats, to try the service without a program of one's own.
//!
//! `launcher` starts and ends the processes; `worker` is one of them.

mod launcher;
mod worker;

pub(crate) use launcher::Demo;
pub(crate) use worker::DEMO_WORKER;
