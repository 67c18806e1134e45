//! Which route a request meets. Compiled at load, read without a lock. Floor 2.
//!
//! The most specific route wins, whatever the order in the file: host first (exact, wildcard, any), then the path
//! segment by segment (literal, `{x}`, end of a prefix), then methods (contract section 5, "Precedence"). `table` says it
//! fast for requests; `explain` says it slowly, with reasons, for people. Tests hold the two to one answer.

pub mod explain;
mod filter;
mod host;
mod path;
pub mod table;

pub use table::{Found, Table};
