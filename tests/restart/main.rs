//! Restarts without loss: the real binary is taken over by another under load, a broken one leaves the old one serving,
//! and systemd's sockets and notifications are what its manual pages say.
//!
//! `DARVAZEH_FULL=1` makes the long runs as long as the promise: ten upgrades in a row.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, reason = "shared with the other black-box tests, which use the rest of it")]
#[path = "../support/mod.rs"]
mod support;

mod broken;
mod load;
mod service;
mod systemd;
mod upgrade;
