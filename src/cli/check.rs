//! `darvazeh check`: what `run` would refuse, and why, without running anything.
//!
//! Loads the config as start-up does and prints every fault: for people as a compiler would, with the line and a remedy;
//! for programs as JSON. Knows how faults look, nothing of what they mean: that is `config::check`'s.

mod snippet;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::clock::UnixTime;
use crate::config::{self, Config, Fault, Severity};
use crate::live;
use snippet::Source;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// Checks the file at `now` and writes what is found. Exit code: 0 when `run` would start (warnings do not count), 1 when not
/// or when `out` is gone.
pub fn check(file: &Path, format: Format, now: UnixTime, out: &mut dyn Write) -> ExitCode {
    let (config, faults) = match live::load_checked(file, now) {
        Ok(loaded) => (Some(loaded.config), loaded.warnings),
        Err(faults) => (None, faults),
    };
    let written = list(file, config.as_ref(), &faults, format, out);
    if config.is_some() && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes what was found in `file`; `config`: when it is good.
pub fn list(
    file: &Path,
    config: Option<&Config>,
    faults: &[Fault],
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Json => json(faults, out),
        Format::Human => human(file, config, faults, out),
    }
}

/// Writes the section of `docs/faults.md` about a code. Exit code: 1 when there is no such code.
pub fn explain(code: &str, out: &mut dyn Write) -> ExitCode {
    let code = code.to_ascii_uppercase();
    let known = config::codes::ALL.contains(&code.as_str());
    match section(&code).filter(|_| known) {
        Some(text) => exit(writeln!(out, "{}", text.trim_end())),
        None => {
            let _ = writeln!(out, "there is no fault `{code}`; codes look like E0103 or W0001");
            ExitCode::FAILURE
        }
    }
}

const FAULTS: &str = include_str!("../../docs/faults.md");

/// From the heading that begins with the code to the next heading.
fn section(code: &str) -> Option<&'static str> {
    let start = FAULTS.match_indices("\n### ").find(|(at, mark)| FAULTS[at + mark.len()..].starts_with(code))?.0 + 1;
    let body = &FAULTS[start..];
    let end = body[1..].find("\n#").map_or(body.len(), |at| at + 1);
    Some(&body[..end])
}

fn exit(written: io::Result<()>) -> ExitCode {
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn json(faults: &[Fault], out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &json!({ "faults": faults }))?;
    writeln!(out)
}

fn human(file: &Path, config: Option<&Config>, faults: &[Fault], out: &mut dyn Write) -> io::Result<()> {
    let mut sources = Sources::default();
    for fault in faults {
        write_fault(fault, &mut sources, out)?;
    }
    let errors = faults.iter().filter(|f| f.severity == Severity::Error).count();
    let warnings = counted(faults.len() - errors, "warning");
    let file = file.display();
    match config {
        Some(config) => {
            let size = format!(
                "{}, {}, {} and {}",
                counted(config.listeners.len(), "listener"),
                counted(config.issuers.len(), "issuer"),
                if config.agencies.len() == 1 {
                    "1 agency".to_owned()
                } else {
                    format!("{} agencies", config.agencies.len())
                },
                counted(config.routes.len(), "route"),
            );
            writeln!(out, "{file} is good: {size}; {warnings}")
        }
        None => {
            writeln!(out, "{file} is refused: {}, {warnings}", counted(errors, "error"))?;
            writeln!(out, "`darvazeh check --explain CODE` tells more about a code")
        }
    }
}

/// Writes each fault with its lines, and no summary: what `run` says at start.
pub fn print(faults: &[Fault], out: &mut dyn Write) {
    let mut sources = Sources::default();
    for fault in faults {
        // Standard error may be gone; the exit code still tells.
        let _ = write_fault(fault, &mut sources, out);
    }
}

/// The texts that faults stand in, each read once.
#[derive(Default)]
struct Sources(HashMap<String, Source>);

impl Sources {
    fn of(&mut self, file: &str) -> &Source {
        if !self.0.contains_key(file) {
            self.0.insert(file.to_owned(), Source::read(Path::new(file)));
        }
        &self.0[file]
    }
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn write_fault(fault: &Fault, sources: &mut Sources, out: &mut dyn Write) -> io::Result<()> {
    let word = match fault.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let related = fault.related.as_ref();
    let lines = [fault.line, related.map_or(0, |r| r.line)];
    let width = lines.iter().max().map_or(1, |line| line.to_string().len());
    let margin = " ".repeat(width);
    writeln!(out, "{word}[{}]: {}", fault.code, fault.message)?;
    if fault.line == 0 {
        writeln!(out, "{margin}--> {}", fault.file)?;
    } else {
        writeln!(out, "{margin}--> {}:{}:{}", fault.file, fault.line, fault.column)?;
        sources.of(&fault.file).write(out, fault.line, fault.column, width, '^', "")?;
    }
    if let Some(related) = related {
        writeln!(out, "{margin}::: {}:{}:{}", related.file, related.line, related.column)?;
        sources.of(&related.file).write(out, related.line, related.column, width, '-', &related.message)?;
    }
    if !fault.path.is_empty() {
        writeln!(out, "{margin} = at: {}", fault.path)?;
    }
    writeln!(out, "{margin} = help: {}\n", fault.remedy)
}

#[cfg(test)]
mod tests;
