//! Bodies of answers.
//!
//! Owns the formats in which sums leave the service, one file for each. Pure: no collecting, no clock, no HTTP.
//! Called by `serve`.

pub mod json;
