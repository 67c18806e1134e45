//! `routes.yaml`, and what it includes, from bytes to a checked [`model::Config`]. Floor 1: knows nothing that runs.
//!
//! ```text
//! bytes -> raw (trees with places) -> check/* over read (every fault, in one pass) -> model (nothing left to doubt)
//! ```
//! Start-up, reload and `darvazeh check` are this one path.

mod check;
pub mod codes;
mod core_schema;
pub mod defaults;
pub mod fault;
mod glob;
mod include;
mod load;
pub mod model;
mod nearest;
mod raw;
mod read;
mod report;
pub mod secret_ref;
mod source;
pub mod units;
pub mod written;

pub use check::is_name;
pub use fault::{Fault, Severity};
pub use load::{Judge, KeptFile, LastGood, Loaded, load, load_anew, load_with};
pub use model::Config;
