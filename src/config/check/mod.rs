//! The raw tree to the checked model: every rule of `routes.yaml`, one file per section.
//!
//! A section is read with the small readers of `read`, which record what is wrong and go on; a part that could not be read
//! is left out, and `config::load` refuses the whole as soon as one fault is an error. Sections are read in the order in
//! which they refer to each other: listeners, issuers, agencies, routes; then what holds between routes (`conflict`).

mod agency;
mod certificate;
mod conflict;
mod cors;
mod exposure;
mod issuer;
mod listener;
mod names;
mod pattern;
mod route;
mod top;
mod url;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::codes;
use super::defaults;
use super::model::{Agency, Config, Issuer, Position};
use super::raw::{Node, Place};
use super::read::{Faults, Field, Table};
use crate::clock::UnixTime;
use listener::Listeners;
use names::Names;

/// What every section needs besides its own text.
struct Context<'f> {
    faults: &'f mut Faults,
    /// The directory of the config file: paths in it are relative to this.
    base: PathBuf,
    now: UnixTime,
}

impl Context<'_> {
    /// A place for the model.
    fn position(&self, place: Place) -> Position {
        Position { file: self.faults.file.clone(), line: place.line, column: place.column }
    }

    /// A path as written, made absolute against the config file.
    fn file(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        field.text(self.faults).map(|text| self.base.join(text))
    }
}

/// What routes may refer to. `None` where an entry was at fault; its name still counts, so that routes are judged too.
struct Sections {
    listeners: Listeners,
    issuers: Vec<Option<Issuer>>,
    issuer_names: Names,
    agencies: Vec<Option<Agency>>,
    agency_names: Names,
}

const KEYS: [&str; 13] = [
    "version",
    "listeners",
    "admin",
    "access_log",
    "workers",
    "state_dir",
    "drain",
    "contact",
    "assertion",
    "cors",
    "issuers",
    "agencies",
    "routes",
];

/// Builds the model; `None` when the file has not even the shape of one. Faults may have been recorded either way.
pub fn config(file: &Path, text: &str, root: &Node<'_>, now: UnixTime, faults: &mut Faults) -> Option<Config> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let base = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let mut cx = Context { faults, base, now };
    let cx = &mut cx;
    let root = Field::root(root);
    let top = root.table(cx.faults, &KEYS)?;
    top::version(&top, cx);
    let default_cors = top.get("cors").and_then(|field| cors::read(&field, cx));
    let mut sections = sections(&top, cx);
    let admin = listener::admin(&top, &mut sections.listeners, cx);
    let routes = route::all(&top, &mut sections, default_cors.as_ref(), cx);
    conflict::check(&routes, &sections, cx);
    exposure::check(&routes, &sections, cx);
    let state_dir = top::text_or(&top, "state_dir", defaults::STATE_DIR, cx);
    Some(Config {
        file: file.to_owned(),
        sha256: sha256(text.as_bytes()),
        access_log: top::access_log(&top, cx),
        workers: top.get("workers").and_then(|f| f.count(cx.faults, 1..=1024)).map(|n| n as usize),
        state_dir: cx.base.join(state_dir),
        drain: top.get("drain").and_then(|f| f.duration(cx.faults, Duration::ZERO..=HOUR)).unwrap_or(defaults::DRAIN),
        contact: top::contact(&top, cx),
        assertion: top::assertion(&top, cx),
        listeners: sections.listeners.list.into_iter().flatten().collect(),
        admin,
        issuers: sections.issuers.into_iter().flatten().collect(),
        agencies: sections.agencies.into_iter().flatten().collect(),
        routes: routes.into_iter().map(|read| read.route).collect(),
    })
}

fn sections(top: &Table<'_>, cx: &mut Context<'_>) -> Sections {
    let listeners = listener::all(top, cx);
    let (issuers, issuer_names) = issuer::all(top, cx);
    let (agencies, agency_names) = agency::all(top, cx);
    Sections { listeners, issuers, issuer_names, agencies, agency_names }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A duration that has a default.
fn duration_or(
    table: &Table<'_>,
    key: &'static str,
    low: Duration,
    high: Duration,
    default: Duration,
    cx: &mut Context<'_>,
) -> Duration {
    table.get(key).and_then(|field| field.duration(cx.faults, low..=high)).unwrap_or(default)
}

/// A count that has a default.
fn count_or(table: &Table<'_>, key: &'static str, low: u32, high: u32, default: u32, cx: &mut Context<'_>) -> u32 {
    let read = table.get(key).and_then(|field| field.count(cx.faults, u64::from(low)..=u64::from(high)));
    read.map_or(default, |n| u32::try_from(n).unwrap_or(high))
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
