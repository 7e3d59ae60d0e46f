#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod collect;
pub mod limits;

pub mod aggregate;
pub mod encode;

pub mod serve;

pub mod fd_budget;
