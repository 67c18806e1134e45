//! What is counted and what is logged of a request. Floor 1: told by others, decides nothing.
//!
//! Each worker counts for itself without atomics ([`tally::Tally`]); `/metrics` asks every worker for a report and sums.

pub mod access_log;
pub mod memory;
pub mod names;
pub mod record;
pub mod tally;

pub use names::{Lease, Names, StatId};
pub use record::Record;
pub use tally::{Report, Tally};
