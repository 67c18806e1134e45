//! `darvazeh explain`: what the gateway would do with one request, and why.
//!
//! The request goes through the code that serves, up to where it would be sent; nothing is listened to, fetched, sent or
//! written. `judge` asks the questions, `human` and `json` show the answers, `mask` keeps out of them what is personal.

mod human;
mod json;
mod judge;
mod mask;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::check::{self, Format};
use crate::clock::Clock;
use crate::config::model::SupposedCaller;
use crate::config::units;
use crate::config::written::Written;
use crate::live;
use crate::words::{Code, Level};
use judge::{Asker, Question, Verdict};

/// What to explain.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "routes.yaml")]
    config: PathBuf,
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Suppose a caller with a valid token of this level
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3), conflicts_with = "token_file")]
    level: Option<u8>,
    /// … that has this scope
    #[arg(long = "scope", value_name = "SCOPE", requires = "level")]
    scopes: Vec<String>,
    /// … who authenticated this long ago
    #[arg(long, value_name = "DURATION", requires = "level", value_parser = units::duration)]
    age: Option<Duration>,
    /// A header of the request
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The listener it comes in by; else the one that fits the URL best
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Judge the token in this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// GET, POST, …
    method: String,
    /// Such as `https://api.example.ir/insurance/x`
    url: String,
}

/// Exit codes (contract section 1). A command line that makes no sense ends with 2, as clap's own errors do.
const REFUSED: u8 = 3;
const NO_ROUTE: u8 = 4;
const USAGE: u8 = 2;

/// Nothing here waits for anybody; if something did, an operator should not.
const PATIENCE: Duration = Duration::from_secs(10);
/// A token is at most 8 KiB; what is more is some other file.
const MAX_TOKEN_FILE: u64 = 64 * 1024;

/// Explains, and says by its exit code what the gateway would do: 0 forward, 3 refuse, 4 no route; 1 for a faulty config.
pub fn explain(options: &Options, out: &mut dyn Write) -> ExitCode {
    let question = match question(options) {
        Ok(question) => question,
        Err(why) => return failed(USAGE, &why),
    };
    let clock = Clock::system();
    let config = match live::load_checked(&options.config, clock.now()) {
        Ok(loaded) => loaded.config,
        Err(faults) => {
            let _ = check::list(&options.config, None, &faults, options.format, out);
            return ExitCode::FAILURE;
        }
    };
    let snapshot = match live::compile::offline(config, &clock) {
        Ok(snapshot) => snapshot,
        Err(why) => return failed(1, &why),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(1, &error.to_string()),
    };
    let judged = judge::explain(&snapshot, &question, &clock);
    let explanation = match runtime.block_on(async { tokio::time::timeout(PATIENCE, judged).await }) {
        Ok(Ok(explanation)) => explanation,
        Ok(Err(why)) => return failed(USAGE, &why),
        Err(_) => return failed(1, "the request could not be judged in time"),
    };
    let written = match options.format {
        Format::Json => json::write(&explanation, out),
        Format::Human => human::write(&explanation, out),
    };
    if written.is_ok() { exit_code(&explanation.verdict) } else { ExitCode::FAILURE }
}

fn exit_code(verdict: &Verdict) -> ExitCode {
    match verdict {
        Verdict::Forward { .. } | Verdict::Allow { .. } | Verdict::Own { .. } => ExitCode::SUCCESS,
        Verdict::Refuse { code: Code::RouteUnknown | Code::MethodNotAllowed, .. } => NO_ROUTE.into(),
        Verdict::Refuse { .. } => REFUSED.into(),
    }
}

fn failed(code: u8, why: &str) -> ExitCode {
    eprintln!("error: {why}");
    code.into()
}

fn question(options: &Options) -> Result<Question, String> {
    let request = Written::parse(&options.method, &options.url)?;
    let mut fields = options.headers.iter().map(|line| field(line)).collect::<Result<Vec<_>, String>>()?;
    let carries_token = fields.iter().any(|(name, _)| name == AUTHORIZATION);
    if carries_token && options.level.is_some() {
        return Err("`--level` supposes a caller: leave the Authorization header out".to_owned());
    }
    if let Some(file) = &options.token_file {
        fields.push((AUTHORIZATION, token(file)?));
    }
    let asker = match options.level.and_then(Level::new) {
        Some(level) => {
            let scopes = options.scopes.iter().flat_map(|list| list.split_whitespace()).map(str::to_owned).collect();
            Asker::Supposed(SupposedCaller { level, scopes, age: options.age.unwrap_or_default() })
        }
        None => Asker::AsSent,
    };
    Ok(Question { request, fields, listener: options.listener.clone(), asker })
}

fn field(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or("a header is written `Name: value`")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "a header's name is not one word")?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    Ok((name, value.map_err(|_| "a header's value is not one line of text")?))
}

/// `Authorization` with the token of a file, which may have been copied with its scheme.
fn token(file: &Path) -> Result<HeaderValue, String> {
    let shown = file.display();
    let mut text = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(MAX_TOKEN_FILE + 1).read_to_end(&mut text),
        false => File::open(file).and_then(|file| file.take(MAX_TOKEN_FILE + 1).read_to_end(&mut text)),
    };
    read.map_err(|error| format!("{shown}: {error}"))?;
    if text.len() as u64 > MAX_TOKEN_FILE {
        return Err(format!("{shown}: too large for a token"));
    }
    let text = text.trim_ascii();
    let token = match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer ") => &text[7..],
        _ => text,
    };
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
    value.map_err(|_| format!("{shown}: a token is one line of ASCII"))
}
