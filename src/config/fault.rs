//! What is wrong with a config, said so that the reader knows what to do next.

use serde::Serialize;

/// One thing that is wrong. `line` and `column` are 1-based; 0 where a fault belongs to no place.
/// As JSON it has the members that the contract names (section 5, "JSON"), for `check` and `/reload` alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Stable: `E0103`, documented in `docs/faults.md`. Warnings begin with `W`.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// The YAML path: `routes[3].require.level`.
    pub path: String,
    pub remedy: String,
    /// Another place that matters ("first defined here").
    #[serde(skip)]
    pub related: Option<Related>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    pub message: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// A fault that no place in the file is to blame for (E0601).
pub fn unplaced(file: &std::path::Path, message: String) -> Fault {
    Fault {
        code: super::codes::CANNOT_START,
        severity: Severity::Error,
        message,
        file: file.display().to_string(),
        line: 0,
        column: 0,
        path: String::new(),
        remedy: "remove what is in the way, and reload".to_owned(),
        related: None,
    }
}
