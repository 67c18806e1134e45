//! From a parsed HTTP request to an [`arrived::Arrived`]: parse, don't validate. Floor 1.

pub mod path;
