//! Golden faults: every `NAME.yaml` here is loaded beside fresh certificates, and what is found must be `NAME.expected`, to
//! the letter. What is well is `nothing`.
//!
//! To accept a change: `UPDATE_EXPECTED=1 cargo test --test config`, then read the diff.

mod files;

use std::fs;
use std::path::{Path, PathBuf};

use darvazeh::config::{self, Fault};

/// 2026-01-01; the certificates of `files` are made around it.
const NOW: i64 = 1_767_225_600;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Loads a text as `routes.yaml` of a directory that holds the test's certificates.
fn load(text: &str) -> Result<config::Loaded, Vec<Fault>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    files::write(dir.path());
    let file = dir.path().join("routes.yaml");
    fs::write(&file, text).expect("the file is written");
    config::load(&file, NOW)
}

fn found(text: &str) -> String {
    let faults = match load(text) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => faults,
    };
    let lines: Vec<String> = faults.iter().map(line).collect();
    if lines.is_empty() { "nothing\n".to_owned() } else { lines.concat() }
}

fn line(fault: &Fault) -> String {
    let Fault { code, line, column, path, message, remedy, .. } = fault;
    let related = fault.related.as_ref().map(|r| format!("\n    see {}:{} {}", r.line, r.column, r.message));
    format!("{line}:{column} {code} {path}: {message}\n    help: {remedy}{}\n", related.unwrap_or_default())
}

#[test]
fn every_file_has_exactly_the_faults_that_are_expected() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    let mut files: Vec<_> = fs::read_dir(here()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    assert!(!files.is_empty());
    files.sort();
    for file in files {
        let found = found(&fs::read_to_string(&file).unwrap());
        let golden = file.with_extension("expected");
        if update {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
