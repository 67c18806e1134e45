//! `darvazeh routes`: every route of a file, one line each, for eyes and for `grep`.
//!
//! Shows what a config says; which of several routes a request meets is `explain`'s to tell. The JSON is that of `/routes` on
//! the admin listener.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::{check, written};
use crate::admin::config_view;
use crate::clock::UnixTime;
use crate::config::model::{HostPattern, PathPattern, Route, Segment};
use crate::config::{self, Config};
use crate::intake::path::canonical;

/// `darvazeh routes`, as the command line takes it. Filters add up.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "routes.yaml")]
    config: PathBuf,
    /// How to list them
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Only routes to this agency
    #[arg(long, value_name = "NAME")]
    agency: Option<String>,
    /// Only routes that ask for exactly this level
    #[arg(long, value_name = "N", conflicts_with = "min_level", value_parser = clap::value_parser!(u8).range(0..=3))]
    level: Option<u8>,
    /// Only routes that ask for this level or a higher one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3))]
    min_level: Option<u8>,
    /// Only routes that answer for this host; one written with `*.` counts as it stands
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only routes that take this method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Only routes that fit this path, or lie below it
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

/// Exit code: 1 when the file is refused, the path is none, or the output is gone.
pub fn run(options: &Options, now: UnixTime) -> ExitCode {
    let config = match config::load(&options.config, now) {
        Ok(loaded) => loaded.config,
        Err(faults) => {
            check::print(&faults, &mut io::stderr());
            return ExitCode::FAILURE;
        }
    };
    let filter = match Filter::of(options) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut routes: Vec<&Route> = config.routes.iter().filter(|route| filter.lets(route, &config)).collect();
    routes.sort_by_cached_key(|route| (written::hosts(route), written::path(&route.path), written::methods(route)));
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = match options.format {
        Format::Json => {
            let list: Vec<_> = routes.iter().map(|route| config_view::route(route, &config)).collect();
            writeln!(out, "{}", json!({ "routes": list }))
        }
        Format::Table => table(&routes, &config, &mut out),
    };
    if printed.and_then(|()| out.flush()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Filter<'o> {
    options: &'o Options,
    host: Option<String>,
    /// The segments of a canonical path.
    path: Option<Vec<String>>,
}

impl<'o> Filter<'o> {
    fn of(options: &'o Options) -> Result<Filter<'o>, String> {
        let path = options.path.as_deref().map(segments).transpose()?;
        Ok(Filter { options, host: options.host.as_ref().map(|host| host.to_ascii_lowercase()), path })
    }

    fn lets(&self, route: &Route, config: &Config) -> bool {
        let Options { agency, level, min_level, method, .. } = self.options;
        let own = route.require.level.number();
        agency.as_ref().is_none_or(|name| **name == *config.agencies[route.agency.0 as usize].name)
            && level.is_none_or(|level| own == level)
            && min_level.is_none_or(|level| own >= level)
            && method.as_ref().is_none_or(|method| takes(route, method))
            && self.host.as_ref().is_none_or(|host| is_for(route, host))
            && self.path.as_ref().is_none_or(|path| fits_or_lies_below(&route.path, path))
    }
}

/// A path as typed, Persian included, in the form in which requests are judged.
fn segments(path: &str) -> Result<Vec<String>, String> {
    let escaped = |c: char| {
        let mut bytes = [0; 4];
        let text = c.encode_utf8(&mut bytes);
        if c.is_ascii() { text.to_owned() } else { text.bytes().map(|byte| format!("%{byte:02X}")).collect() }
    };
    let escaped: String = path.chars().map(escaped).collect();
    let canonical =
        canonical(escaped.as_bytes()).map_err(|why| format!("`{path}` is no path of a request: {}", why.0))?;
    let text = String::from_utf8_lossy(&canonical);
    let rest = text.strip_prefix('/').ok_or_else(|| format!("`{path}` does not begin with `/`"))?;
    Ok(rest.split('/').map(str::to_owned).collect())
}

fn takes(route: &Route, method: &str) -> bool {
    let is = |name: &str| route.methods.iter().any(|m| m.as_str().eq_ignore_ascii_case(name));
    route.methods.is_empty() || is(method) || (method.eq_ignore_ascii_case("HEAD") && is("GET"))
}

fn is_for(route: &Route, host: &str) -> bool {
    let fits = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => name == host,
        HostPattern::Wildcard(rest) => host.split_once('.').is_some_and(|(_, parent)| parent == rest),
    };
    route.hosts.is_empty() || route.hosts.iter().any(fits)
}

fn fits_or_lies_below(pattern: &PathPattern, path: &[String]) -> bool {
    let (PathPattern::Exact(own) | PathPattern::Prefix(own)) = pattern;
    // `/` and a slash at the end ask for all that lies below.
    let path =
        path.strip_suffix(&[String::new()]).filter(|rest| own.len() > rest.len() || rest.is_empty()).unwrap_or(path);
    let alike = |(own, asked): (&Segment, &String)| match own {
        Segment::Literal(text) => text == asked,
        Segment::Any(_) => !asked.is_empty(),
    };
    let long_enough = own.len() >= path.len() || matches!(pattern, PathPattern::Prefix(_));
    long_enough && own.iter().zip(path).all(alike)
}

const HEADINGS: [&str; 6] = ["METHOD", "HOST", "PATH", "LEVEL", "AGENCY", "PLACE"];

/// Columns as wide as what is in them; the last one is not padded.
fn table(routes: &[&Route], config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let row = |route: &&Route| {
        [
            written::methods(route),
            written::hosts(route),
            written::path(&route.path),
            route.require.level.to_string(),
            config.agencies[route.agency.0 as usize].name.to_string(),
            format!("{}:{}", route.at.file, route.at.line),
        ]
    };
    let rows: Vec<[String; 6]> = std::iter::once(HEADINGS.map(str::to_owned)).chain(routes.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in &rows {
        for (column, (text, width)) in row.iter().zip(widths).enumerate() {
            if column == 5 {
                writeln!(out, "{text}")?;
                continue;
            }
            // What follows a Persian path must not be drawn into its direction: U+200E has no width.
            let mark = if text.is_ascii() { "" } else { "\u{200e}" };
            write!(out, "{text}{mark}{:1$}  ", "", width - text.width())?;
        }
    }
    Ok(())
}
