//! System calls and synchronization, without knowledge of pipes.

pub mod stat;

pub(crate) mod backoff;
pub(crate) mod fd;
pub(crate) mod hugepages;
pub(crate) mod lock;
pub(crate) mod shutdown;
pub(crate) mod stderr;
pub(crate) mod thread;
