//! Memory by the byte: an allocator that counts stands under the gateway, in this process. What is counted is what is live, so
//! that neither pages nor the allocator's steps blur it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::alloc::System;
use std::sync::{Mutex, PoisonError};

use cap::Cap;

mod plan;
mod reloads;
mod tokens;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time: they measure the same heap.
static TURN: Mutex<()> = Mutex::new(());

fn alone() -> impl Sized {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
