//! The raw tree to the checked model: every rule of `routes.yaml`, one file per section.
//!
//! A section is read with the small readers of `read`, which record what is wrong and go on; a part that could not be read
//! is left out, and `config::load` refuses the whole as soon as one fault is an error. Listeners and issuers come first, since
//! routes refer to them; then file by file agencies and routes; then what holds between routes (`conflict`, `exposure`).

mod agency;
mod certificate;
mod conflict;
mod cors;
mod expect;
mod exposure;
mod inherited;
mod issuer;
mod listener;
mod manner;
mod names;
mod pattern;
mod portal;
mod route;
mod session;
mod store;
mod top;
mod url;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::codes;
use super::defaults;
use super::model::{Config, Issuer, Position};
use super::raw::{Node, Place};
use super::read::{Field, Table, list};
use super::report::Faults;
use crate::clock::UnixTime;
use agency::Agencies;
use expect::Expectations;
use listener::Listeners;
use names::Names;
pub use names::is_name;
use route::Routes;

/// One file of the config as it is judged.
pub struct Part<'t> {
    /// Absolute.
    pub path: &'t Path,
    /// Relative to the config file's directory.
    pub name: &'t str,
    pub text: &'t str,
}

/// An included file, parsed.
pub enum Parsed<'t> {
    Tree(Node<'t>),
    /// To be treated as if it were not included.
    LeftOut,
    /// It has no tree, and that was recorded as a fault: what others refer to may be in it.
    Faulty,
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
    agencies: Agencies,
}

const KEYS: [&str; 21] = [
    "version",
    "include",
    "listeners",
    "admin",
    "access_log",
    "workers",
    "zone",
    "state_dir",
    "drain",
    "watch",
    "contact",
    "assertion",
    "sessions",
    "defaults",
    "cors",
    "rates",
    "overload",
    "issuers",
    "agencies",
    "routes",
    "expect",
];

/// What an included file may hold. `version` and all else stands once, in the config file.
const INCLUDED_KEYS: [&str; 3] = ["agencies", "routes", "expect"];

/// Builds the model; `None` when the config file has not even the shape of one. Faults may have been recorded either way.
/// `file`: the config file as given; `root`: its tree. `parts`: it and the included ones. `parse` gives the tree of an
/// included one; each is dropped once it is read, so that the memory of one file serves for the next.
pub fn config<'t>(
    file: &Path,
    root: &Node<'_>,
    parts: &[Part<'t>],
    mut parse: impl FnMut(u16, &mut Faults) -> Parsed<'t>,
    now: UnixTime,
    faults: &mut Faults,
) -> Option<Config> {
    let directory = |part: &Part<'_>| part.path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut cx = Context { faults, bases: parts.iter().map(directory).collect(), named: BTreeSet::new(), now };
    let cx = &mut cx;
    let root = Field::root(root);
    let top = root.table(cx.faults, &KEYS)?;
    top::version(&top, cx);
    let defaults = inherited::table(&top, cx);
    let top_cors = top.get("cors").map(|field| (field.place(), cors::read(&field, cx)));
    let manner = inherited::agencies(defaults.as_ref(), cx);
    let mut sections = sections(&top, cx);
    let admin = listener::admin(&top, &mut sections.listeners, cx);
    let mut routes = Routes::new(inherited::routes(defaults.as_ref(), top_cors, &mut sections, cx));
    sections.agencies.read(&top, &manner, cx);
    routes.read(&top, &mut sections, cx);
    let mut expectations = Expectations::default();
    expectations.read(&top, &mut sections, cx);
    let mut digest = Digest::new(&parts[0]);
    let mut complete = true;
    for (number, part) in parts.iter().enumerate().skip(1) {
        match parse(u16::try_from(number).unwrap_or(u16::MAX), cx.faults) {
            Parsed::Tree(root) => {
                digest.add(part);
                let root = Field::root(&root);
                let Some(table) = included(&root, cx) else { continue };
                sections.agencies.read(&table, &manner, cx);
                routes.read(&table, &mut sections, cx);
                expectations.read(&table, &mut sections, cx);
            }
            Parsed::LeftOut => {}
            Parsed::Faulty => complete = false,
        }
    }
    if complete {
        refuse_nothing(&top, &sections, &routes, cx);
        expectations.refuse_unknown_routes(&mut routes, cx);
    }
    routes.resolve_agencies(&mut sections, complete, cx);
    conflict::check(&routes.list, &sections, cx);
    exposure::check(&routes.list, &sections, complete, cx);
    portal::check(&routes.list, &sections, cx);
    let state_dir = top::text_or(&top, "state_dir", super::defaults::STATE_DIR, cx);
    let state_dir = cx.bases[0].join(state_dir);
    let read = parts.iter().map(|part| part.path.to_owned());
    Some(Config {
        file: file.to_owned(),
        sha256: digest.finish(),
        access_log: top::access_log(&top, cx),
        workers: top.get("workers").and_then(|f| f.count(cx.faults, 1..=1024)).map(|n| n as usize),
        zone: top.get("zone").and_then(|f| exposure::zone(&f, &sections, complete, cx)),
        state_dir,
        drain: duration_or(&top, "drain", Duration::ZERO, HOUR, super::defaults::DRAIN, cx),
        watch: top.get("watch").and_then(|f| f.flag(cx.faults)).unwrap_or(false),
        contact: top::contact(&top, cx),
        assertion: top::assertion(&top, cx),
        sessions: session::sessions(&top, cx),
        overload: top::overload(&top, cx),
        shared_rates: store::rates(&top, cx),
        listeners: sections.listeners.list.into_iter().flatten().collect(),
        admin,
        at_start: top::at_start(&top, cx),
        issuers: sections.issuers.into_iter().flatten().collect(),
        agencies: sections.agencies.list.into_iter().flatten().collect(),
        routes: routes.list.into_iter().map(|read| read.route).collect(),
        expectations: expectations.list,
        // After all that names files was read.
        sources: read.chain(std::mem::take(&mut cx.named)).collect(),
        source_dirs: Vec::new(),
    })
}

/// A config must have agencies and routes, in whichever of its files.
fn refuse_nothing(top: &Table<'_>, sections: &Sections, routes: &Routes, cx: &mut Context<'_>) {
    if !sections.agencies.are_given {
        let remedy = "name at least one agency: `agencies: { NAME: { endpoints: [http://…] } }`";
        top.need(cx.faults, "agencies", remedy);
    }
    if !routes.are_given {
        top.need(cx.faults, "routes", "add `routes:` with a list of routes");
    }
}

/// The shape of an included file. Keys of the config file are told from mere slips.
fn included<'t>(root: &Field<'t>, cx: &mut Context<'_>) -> Option<Table<'t>> {
    let elsewhere: Vec<&str> = KEYS.into_iter().filter(|key| !INCLUDED_KEYS.contains(key)).collect();
    let table = root.table_besides(cx.faults, &INCLUDED_KEYS, &elsewhere)?;
    let allowed = list(INCLUDED_KEYS);
    for key in elsewhere {
        let Some(place) = table.key_place(key) else { continue };
        let main = cx.faults.name(0);
        let (message, remedy) = match key {
            "include" => ("an included file cannot include others".to_owned(), format!("name all files in `{main}`")),
            "version" => ("`version` stands once for all files".to_owned(), format!("remove it; `{main}` has it")),
            _ => (
                format!("`{key}` cannot stand in an included file"),
                format!("move it to `{main}`; an included file may hold {allowed}"),
            ),
        };
        cx.faults.add(codes::NOT_IN_INCLUDED, place, key.to_owned(), message, remedy);
    }
    Some(table)
}

/// What stands in the config file alone; agencies are added file by file.
fn sections(top: &Table<'_>, cx: &mut Context<'_>) -> Sections {
    let listeners = listener::all(top, cx);
    let (issuers, issuer_names) = issuer::all(top, cx);
    Sections { listeners, issuers, issuer_names, agencies: Agencies::new() }
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

/// SHA-256 over the config file's bytes; then for each included file a NUL, its name, a NUL and its bytes. Without included
/// files it is what `sha256sum` gives (contract section 5, "JSON").
struct Digest(aws_lc_rs::digest::Context);

impl Digest {
    fn new(main: &Part<'_>) -> Digest {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(main.text.as_bytes());
        Digest(context)
    }

    fn add(&mut self, included: &Part<'_>) {
        for bytes in [b"\0", included.name.as_bytes(), b"\0", included.text.as_bytes()] {
            self.0.update(bytes);
        }
    }

    fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
