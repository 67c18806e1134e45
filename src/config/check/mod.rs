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
mod inherited;
mod issuer;
mod listener;
mod manner;
mod names;
mod pattern;
mod route;
mod top;
mod url;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::codes;
use super::defaults;
use super::model::{Agency, Config, Issuer, Position};
use super::raw::{Node, Place};
use super::read::{Field, Table, list};
use super::report::Faults;
use crate::clock::UnixTime;
use listener::Listeners;
use manner::Manner;
use names::Names;

/// One file of the config as it is judged.
pub struct Part<'t> {
    /// Absolute.
    pub path: &'t Path,
    /// Relative to the config file's directory.
    pub name: &'t str,
    pub text: &'t str,
    /// `None`: left out.
    pub root: Option<&'t Node<'t>>,
}

/// What every section needs besides its own text.
struct Context<'f> {
    faults: &'f mut Faults,
    /// By file: its directory, where relative paths in it begin.
    bases: Vec<PathBuf>,
    /// Files that the config names and that are read.
    named: BTreeSet<PathBuf>,
    now: UnixTime,
}

impl Context<'_> {
    /// A place for the model.
    fn position(&self, place: Place) -> Position {
        Position { file: self.faults.name(place.file).clone(), line: place.line, column: place.column }
    }

    /// A path as written, made absolute against the file it is written in.
    fn path(&self, field: &Field<'_>, text: &str) -> PathBuf {
        self.bases[usize::from(field.place().file)].join(text)
    }

    /// A file that is read together with the config.
    fn file(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        let text = field.text(self.faults)?;
        let path = self.path(field, text);
        self.named.insert(path.clone());
        Some(path)
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

const KEYS: [&str; 16] = [
    "version",
    "include",
    "listeners",
    "admin",
    "access_log",
    "workers",
    "state_dir",
    "drain",
    "watch",
    "contact",
    "assertion",
    "defaults",
    "cors",
    "issuers",
    "agencies",
    "routes",
];

/// What an included file may hold. `version` and all else stands once, in the config file.
const INCLUDED_KEYS: [&str; 2] = ["agencies", "routes"];

/// Builds the model; `None` when the config file has not even the shape of one. Faults may have been recorded either way.
/// `file`: the config file as given. `parts`: it and the included ones. `complete`: `false` when the root of one is missing
/// because of a fault, so that what others refer to may be in there.
pub fn config(file: &Path, parts: &[Part<'_>], complete: bool, now: UnixTime, faults: &mut Faults) -> Option<Config> {
    let directory = |part: &Part<'_>| part.path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut cx = Context { faults, bases: parts.iter().map(directory).collect(), named: BTreeSet::new(), now };
    let cx = &mut cx;
    let root = Field::root(parts.first()?.root?);
    let top = root.table(cx.faults, &KEYS)?;
    top::version(&top, cx);
    let roots: Vec<Field<'_>> = parts[1..].iter().filter_map(|part| part.root.map(Field::root)).collect();
    let mut files = vec![top];
    files.extend(roots.iter().filter_map(|root| included(root, cx)));
    let defaults = inherited::table(&top, cx);
    let top_cors = top.get("cors").map(|field| (field.place(), cors::read(&field, cx)));
    let manner = inherited::agencies(defaults.as_ref(), cx);
    let mut sections = sections(&files, complete, &manner, cx);
    let route_defaults = inherited::routes(defaults.as_ref(), top_cors, &mut sections, cx);
    let admin = listener::admin(&top, &mut sections.listeners, cx);
    let routes = route::all(&files, complete, &mut sections, route_defaults, cx);
    conflict::check(&routes, &sections, cx);
    exposure::check(&routes, &sections, complete, cx);
    let state_dir = top::text_or(&top, "state_dir", super::defaults::STATE_DIR, cx);
    let state_dir = cx.bases[0].join(state_dir);
    let access_log = top::access_log(&top, cx);
    let contact = top::contact(&top, cx);
    let assertion = top::assertion(&top, cx);
    let read = parts.iter().map(|part| part.path.to_owned());
    Some(Config {
        file: file.to_owned(),
        sha256: sha256(parts),
        sources: read.chain(std::mem::take(&mut cx.named)).collect(),
        source_dirs: Vec::new(),
        access_log,
        workers: top.get("workers").and_then(|f| f.count(cx.faults, 1..=1024)).map(|n| n as usize),
        state_dir,
        drain: top.get("drain").and_then(|f| f.duration(cx.faults, Duration::ZERO..=HOUR)).unwrap_or(defaults::DRAIN),
        watch: top.get("watch").and_then(|f| f.flag(cx.faults)).unwrap_or(false),
        contact,
        assertion,
        listeners: sections.listeners.list.into_iter().flatten().collect(),
        admin,
        issuers: sections.issuers.into_iter().flatten().collect(),
        agencies: sections.agencies.into_iter().flatten().collect(),
        routes: routes.into_iter().map(|read| read.route).collect(),
    })
}

/// The shape of an included file. Keys of the config file are told from mere slips.
fn included<'t>(root: &Field<'t>, cx: &mut Context<'_>) -> Option<Table<'t>> {
    let elsewhere: Vec<&str> = KEYS.into_iter().filter(|key| !INCLUDED_KEYS.contains(key)).collect();
    let table = root.table_besides(cx.faults, &INCLUDED_KEYS, &elsewhere)?;
    let allowed = list(INCLUDED_KEYS);
    for key in elsewhere {
        let Some(place) = table.key_place(key) else { continue };
        let message = match key {
            "include" => "an included file cannot include others".to_owned(),
            _ => format!("`{key}` cannot stand in an included file"),
        };
        let main = cx.faults.name(0);
        let remedy = format!("move it to `{main}`; an included file may hold {allowed}");
        cx.faults.add(codes::NOT_IN_INCLUDED, place, key.to_owned(), message, remedy);
    }
    Some(table)
}

fn sections(files: &[Table<'_>], complete: bool, manner: &Manner, cx: &mut Context<'_>) -> Sections {
    let listeners = listener::all(&files[0], cx);
    let (issuers, issuer_names) = issuer::all(&files[0], cx);
    let (agencies, agency_names) = agency::all(files, complete, manner, cx);
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

/// Over the config file's bytes; then for each included file a NUL, its name, a NUL and its bytes. Without included files
/// it is what `sha256sum` gives (contract section 5, "JSON").
fn sha256(parts: &[Part<'_>]) -> String {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for (number, part) in parts.iter().enumerate().filter(|(_, part)| part.root.is_some()) {
        if number > 0 {
            digest.update(b"\0");
            digest.update(part.name.as_bytes());
            digest.update(b"\0");
        }
        digest.update(part.text.as_bytes());
    }
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
