//! Agencies' servers fall ill, and callers are not to notice: health checks, ejection, names. The real binary, real
//! sockets; each agency misbehaves on cue.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use other parts of it")]
mod support;

mod checks;
mod ejection;
mod moody;
mod names;
mod reload;
mod reuse;
mod siblings;
mod zones;
