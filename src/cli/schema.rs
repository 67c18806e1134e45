//! `darvazeh schema`: the JSON Schema (draft 2020-12) of `routes.yaml`, for editors.
//!
//! It accepts what `check` accepts and refuses by shape what `check` refuses by shape: unknown keys, types, words, the forms of
//! durations and sizes. What needs more than one place in the file, or another file, is `check`'s alone. `tests/config`
//! holds the two together.

use std::io::Write;
use std::process::ExitCode;

/// The schema as text.
pub const SCHEMA: &str = include_str!("schema.json");

/// Writes the schema. Exit code: 1 when `out` is gone.
pub fn schema(out: &mut dyn Write) -> ExitCode {
    match out.write_all(SCHEMA.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
