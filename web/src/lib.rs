#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod limits;

pub mod collect;

pub mod aggregate;
pub mod encode;

pub mod serve;

mod error_chain;
pub mod fd_budget;

pub use error_chain::ErrorChain;
