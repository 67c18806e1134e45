//! `routes.yaml` from bytes to a checked [`model::Config`]. Floor 1: knows nothing that runs.
//!
//! ```text
//! bytes -> raw (a tree with places) -> check/* over read (every fault, in one pass) -> model (nothing left to doubt)
//! ```
//! Start-up, reload and `darvazeh check` are this one path.

mod check;
pub mod codes;
pub mod defaults;
pub mod fault;
pub mod model;
mod nearest;
mod raw;
mod read;
pub mod units;

use std::path::Path;
use std::sync::Arc;

pub use fault::{Fault, Severity};
pub use model::Config;

use crate::clock::UnixTime;
use raw::{Place, Unreadable};
use read::Faults;

/// A config that may run, with what is legal but suspicious about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Fault>,
}

/// Reads, parses and checks the file and everything it names. Errors: every fault at once, warnings included, in the order
/// of the file. Blocks on the file system; costs under 2 s for 100 000 routes.
pub fn load(file: &Path, now: UnixTime) -> Result<Loaded, Vec<Fault>> {
    let mut faults = Faults::new(Arc::from(file.to_string_lossy()));
    let config = read_text(file, &mut faults).and_then(|text| parse_and_check(file, &text, now, &mut faults));
    let broken = faults.any_errors();
    let found = faults.into_sorted();
    match config {
        Some(config) if !broken => Ok(Loaded { config, warnings: found }),
        _ => Err(found),
    }
}

fn parse_and_check(file: &Path, text: &str, now: UnixTime, faults: &mut Faults) -> Option<Config> {
    match raw::parse(text) {
        Ok(root) => check::config(file, text, &root, now, faults),
        Err(unreadable) => {
            let (code, place, message, remedy) = match unreadable {
                Unreadable::Syntax(place, message) => {
                    (codes::SYNTAX, place, message, "mend the YAML; what follows this place was not read")
                }
                Unreadable::TooMuch(place, message) => {
                    (codes::TOO_MUCH, place, message, "split the file, or use fewer aliases")
                }
            };
            faults.add(code, place, String::new(), message, remedy.to_owned());
            None
        }
    }
}

fn read_text(file: &Path, faults: &mut Faults) -> Option<String> {
    let too_large = std::fs::metadata(file).is_ok_and(|meta| meta.len() > raw::MAX_BYTES as u64);
    if too_large {
        let message = format!("the file is over {} MiB", raw::MAX_BYTES >> 20);
        let remedy = "split the routes over several gateways".to_owned();
        faults.add(codes::TOO_MUCH, Place::default(), String::new(), message, remedy);
        return None;
    }
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            let remedy = "give the path of a file that this user may read".to_owned();
            faults.add(codes::UNREADABLE, Place::default(), String::new(), error.to_string(), remedy);
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|b| **b == b'\n').count();
            let place = Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 };
            let remedy = "save the file as UTF-8".to_owned();
            faults.add(codes::SYNTAX, place, String::new(), "this line is not UTF-8".to_owned(), remedy);
            None
        }
    }
}
