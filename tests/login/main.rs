//! One login for every portal, from outside: the real binary, an SSO that answers and misbehaves on cue, and a browser with
//! cookies that goes where it is sent.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use other parts of it")]
mod support;

mod attacks;
mod browser;
mod config;
mod first_login;
mod fleet;
mod forms;
mod logout;
mod provider;
mod scripts;
mod step_up;
mod streams;
mod tokens;
mod verdicts;
mod world;
