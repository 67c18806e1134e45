//! A directory with configs and what they name, and the program run over them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

pub const BASE: &str = include_str!("base.yaml");

pub fn darvazeh(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_darvazeh")).args(arguments).output().expect("the program runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// A directory with certificates and keys, in which configs are written.
pub struct Ground {
    dir: TempDir,
}

impl Ground {
    pub fn new() -> Ground {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let made = darvazeh(&["certs", "dev", "--out", &path(&dir.path().join("certs")), "--host", "api.example.ir"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let jwks = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"a",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
        fs::write(dir.path().join("sso.jwks.json"), jwks).expect("the keys are written");
        Ground { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let file = self.dir.path().join(name);
        fs::write(&file, text).expect("the config is written");
        path(&file)
    }

    pub fn diff(&self, old: &str, new: &str, more: &[&str]) -> Output {
        let (old, new) = (self.write("old.yaml", old), self.write("new.yaml", new));
        darvazeh(&[&["diff", &old, &new], more].concat())
    }

    /// The changes as JSON; every file must be good.
    pub fn changes(&self, old: &str, new: &str) -> Vec<Value> {
        let output = self.diff(old, new, &["--format", "json"]);
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
        let changes = json["changes"].as_array().expect("a list").clone();
        assert_eq!(output.status.code(), Some(if changes.is_empty() { 0 } else { 2 }));
        changes
    }
}

fn path(path: &Path) -> String {
    path.to_str().expect("temporary directories are UTF-8").to_owned()
}

/// The text with one thing replaced, which must be there.
pub fn with(base: &str, from: &str, to: &str) -> String {
    assert!(base.contains(from), "the base has no `{from}`");
    base.replacen(from, to, 1)
}

pub fn kinds(changes: &[Value]) -> Vec<&str> {
    changes.iter().map(|change| change["kind"].as_str().expect("a text")).collect()
}
