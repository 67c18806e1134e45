//! `routes.yaml` from bytes to a checked [`model::Config`]. Floor 1: knows nothing that runs.

pub mod defaults;
pub mod fault;
pub mod model;

use std::path::Path;

pub use fault::{Fault, Severity};
pub use model::Config;

use crate::clock::UnixTime;

/// A config that may run, with what is legal but suspicious about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Fault>,
}

/// Reads, parses and checks the file and everything it names. Errors: every fault at once, warnings included.
pub fn load(_file: &Path, _now: UnixTime) -> Result<Loaded, Vec<Fault>> {
    todo!()
}
