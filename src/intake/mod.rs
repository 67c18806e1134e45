//! From what a listener read to an [`Arrived`]: parse, don't validate. Floor 1: knows no route, no token, no agency.
//!
//! What leaves here is judged once and for all: one host, one canonical path, one client address, no header that only the
//! gateway may write. What cannot be made so is [`Rejected`] and reaches nobody.

pub mod arrived;
pub mod client_addr;
pub mod host;
pub mod original;
pub mod path;
pub mod spoof;

pub use arrived::{Arrived, Rejected};
