//! Changes at night, of the running binary: what takes effect by itself, what survives, what ends, and that nothing is lost.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

// Only part of it is used here; the whole is used by the tests of `gateway`.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod carried;
mod files;
mod listeners;
mod loss;
mod renewed;
mod restart;
mod streams;

use std::path::Path;

use support::gateway::Gateway;
use support::world::Config;

/// Puts `text` in place of `file`, at once and whole.
fn replace(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, file).unwrap();
}

/// Puts `config` in force by `POST /reload`.
async fn apply(gateway: &Gateway, config: &Config) {
    replace(&gateway.config_file(), &config.yaml());
    let answer = gateway.admin("POST", "/reload").await;
    assert_eq!((answer.status(), &answer.json()["outcome"]), (200, &"applied".into()), "{}", answer.text());
}
