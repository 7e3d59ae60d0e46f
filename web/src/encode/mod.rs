//! Output formats: encodes the result of a scrape.
//!
//! `format` owns the list of formats; each format has a file. To add one, add its file here, a variant of [`Format`], and its
//! path in `serve/routes.rs`.

mod format;
pub mod json;

pub use format::{Format, HostStats};
