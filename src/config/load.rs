//! From files to a checked config: reads the config file and what it includes, parses each, has all of them checked as one,
//! and, where the config says so, puts a faulty included file's last good version in its place.
//!
//! Knows which file is to blame for a fault; what a fault is, `check` knows.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{self, Parsed, Part};
use super::codes;
use super::fault::Fault;
use super::include::{self, Include, Included};
use super::model::Config;
use super::raw::{self, Node, Place, Unreadable};
use super::report::{Faults, Reported};
use super::source::{self, Unread};
use crate::clock::UnixTime;

/// A config that may run, with what is legal but suspicious about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Fault>,
    /// Included files that are faulty: `config` has their last good versions. Empty unless `on_fault: keep_last_good`.
    pub kept: Vec<KeptFile>,
    /// For the next `load_with`: the included files as they are in `config`.
    pub last_good: LastGood,
}

/// An included file whose last good version is used in its stead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// As people see it, and as in `Position::file`.
    pub file: String,
    /// `false`: there is no good version yet, and nothing of the file is used.
    pub in_use: bool,
    /// What is wrong with the file as it is on disk.
    pub faults: Vec<Fault>,
}

/// What the last good load was made of. The default knows of none: it belongs to a start, where a faulty file always refuses
/// the whole.
#[derive(Clone, Default)]
pub struct LastGood(Option<Arc<Texts>>);

/// A config as it was written.
struct Texts {
    main: Arc<str>,
    /// The included files in their order, also those that were left out: these have no text.
    order: Vec<PathBuf>,
    included: HashMap<PathBuf, Arc<str>>,
    directories: Vec<PathBuf>,
}

impl fmt::Debug for LastGood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastGood({} files)", self.0.as_ref().map_or(0, |texts| 1 + texts.included.len()))
    }
}

/// Judges a config that has no fault of its own: what it does, rather than how it is written. Faults have the files' names as
/// the config's positions have them.
pub type Judge<'j> = &'j dyn Fn(&Config) -> Vec<Fault>;

/// Reads, parses and checks the file and everything it names; a faulty file refuses the whole. Errors: every fault at once,
/// warnings included, file by file in the order of the text. Blocks on the file system; costs under 2 s for 100 000 routes.
pub fn load(file: &Path, now: UnixTime) -> Result<Loaded, Vec<Fault>> {
    load_with(file, now, &LastGood::default(), &|_| Vec::new())
}

/// The same for a config that runs already. With `on_fault: keep_last_good` an included file that is faulty keeps the version
/// of the last good load (none: it is left out), and the others apply. Errors: what is wrong with the files as they are on
/// disk, where the config file itself is at fault, or no included file that changed can be blamed.
pub fn load_with(file: &Path, now: UnixTime, last_good: &LastGood, judge: Judge<'_>) -> Result<Loaded, Vec<Fault>> {
    let faults = Faults::new(Arc::from(file.to_string_lossy()));
    let mut budget = Budget { bytes: raw::MAX_BYTES as u64, nodes: 0 };
    match source::read(file, &mut budget.bytes) {
        Ok(text) => {
            Written { file, now, judge, good: last_good.0.as_deref(), is_anew: false }.load(text.into(), budget, faults)
        }
        Err(unread) => Err(refused(faults, 0, &unread)),
    }
}

/// The config that `in_force` is made of, from its texts and with the files that it names as they are now: certificates, keys,
/// CAs. An edit on disk is not looked at. Errors: as for [`load`].
pub fn load_anew(file: &Path, now: UnixTime, in_force: &LastGood, judge: Judge<'_>) -> Result<Loaded, Vec<Fault>> {
    let Some(texts) = in_force.0.as_deref() else { return load_with(file, now, in_force, judge) };
    let faults = Faults::new(Arc::from(file.to_string_lossy()));
    let budget = Budget { bytes: raw::MAX_BYTES as u64, nodes: 0 };
    Written { file, now, judge, good: Some(texts), is_anew: true }.load(texts.main.clone(), budget, faults)
}

/// How a config file is to be read.
struct Written<'a> {
    file: &'a Path,
    now: UnixTime,
    judge: Judge<'a>,
    good: Option<&'a Texts>,
    /// The included files are those of `good`, whatever is on disk.
    is_anew: bool,
}

impl Written<'_> {
    fn load(self, text: Arc<str>, mut budget: Budget, mut faults: Faults) -> Result<Loaded, Vec<Fault>> {
        let Written { file, now, judge, good, is_anew } = self;
        let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let root = match raw::parse(&text, 0, &mut budget.nodes) {
            Ok(root) => root,
            Err(unreadable) => {
                report_unreadable(unreadable, &mut faults);
                return Err(faults.into_sorted());
            }
        };
        let include = match good.filter(|_| is_anew) {
            Some(good) => {
                Include { keep_last_good: false, files: good.included(), directories: good.directories.clone() }
            }
            None => include::read(&root, &path, &mut faults),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let main = File { name, path, place: Place::default(), text: Ok(text.clone()) };
        let read = |path: &Path| match good.filter(|_| is_anew) {
            Some(good) => Ok(good.included.get(path).cloned().unwrap_or_default()),
            None => source::read(path, &mut budget.bytes).map(Arc::from),
        };
        let files = included(file, main, &include, &mut faults, read);
        let left_out = good.filter(|_| is_anew).map(|good| left_out(&files, good)).unwrap_or_default();
        let keep = good.map(|good| &good.included).filter(|_| include.keep_last_good);
        let attempts =
            Attempts { file, now, judge, root: &root, nodes: budget.nodes, files: &files, found: faults, keep };
        let (config, found, kept) = attempts.run(left_out)?;
        let last_good = good_texts(text, &files, &kept, include.directories.clone());
        let config = Config { source_dirs: include.directories, ..config };
        Ok(Loaded { config, warnings: found, kept: kept.into_values().map(|(_, kept)| kept).collect(), last_good })
    }
}

impl Texts {
    fn included(&self) -> Vec<Included> {
        self.order.iter().map(|path| Included { path: path.clone(), place: Place::default() }).collect()
    }
}

/// The files that the config in force does without.
fn left_out(files: &[File], good: &Texts) -> Kept {
    let without = files.iter().enumerate().skip(1).filter(|(_, file)| !good.included.contains_key(&file.path));
    let kept = |file: &File| KeptFile { file: file.name.clone(), in_use: false, faults: Vec::new() };
    without.map(|(number, file)| (number_of(number), (None, kept(file)))).collect()
}

/// What is left of the bounds that all files share.
struct Budget {
    bytes: u64,
    /// Met so far.
    nodes: u64,
}

/// A file of the config. Its number is its place in the list; the first is the config file itself.
struct File {
    /// Relative to the config file's directory where it lies below that.
    name: String,
    /// Absolute.
    path: PathBuf,
    /// Where it is included.
    place: Place,
    text: Result<Arc<str>, Unread>,
}

/// The config file and the included ones, each with what `read` gives for its path.
fn included(
    file: &Path,
    main: File,
    include: &Include,
    faults: &mut Faults,
    mut read: impl FnMut(&Path) -> Result<Arc<str>, Unread>,
) -> Vec<File> {
    let base = main.path.parent().unwrap_or(Path::new("/")).to_owned();
    // As people wrote it: a relative config file has relative included files.
    let shown_base = file.parent().unwrap_or(Path::new(""));
    let mut files = vec![main];
    for included in &include.files {
        let relative = included.path.strip_prefix(&base).unwrap_or(&included.path);
        faults.add_file(Arc::from(shown_base.join(relative).to_string_lossy()));
        files.push(File {
            name: relative.to_string_lossy().into_owned(),
            place: included.place,
            text: read(&included.path),
            path: included.path.clone(),
        });
    }
    files
}

fn number_of(file: usize) -> u16 {
    u16::try_from(file).expect("`include` bounds the number of files")
}

type Kept = BTreeMap<u16, (Option<Arc<str>>, KeptFile)>;

/// Judges the files, again and again with fewer faulty ones.
struct Attempts<'t> {
    /// As given.
    file: &'t Path,
    now: UnixTime,
    judge: Judge<'t>,
    /// The config file's tree, and how many values it took.
    root: &'t Node<'t>,
    nodes: u64,
    files: &'t [File],
    /// Of `include` itself.
    found: Faults,
    /// The last good texts, where they may stand in for faulty ones.
    keep: Option<&'t HashMap<PathBuf, Arc<str>>>,
}

/// Every round blames at least one more file. So many are needed only where files were made to collide in a chain.
const MAX_ROUNDS: usize = 10;

impl<'t> Attempts<'t> {
    /// `kept`: what is done without from the beginning.
    fn run(self, mut kept: Kept) -> Result<(Config, Vec<Fault>, Kept), Vec<Fault>> {
        let mut on_disk: Option<Vec<Fault>> = None;
        for _ in 0..MAX_ROUNDS {
            let (config, faults) = self.judge(&kept);
            match config {
                Some(config) if !faults.any_errors() => {
                    // Warnings of a version that is not on disk would point at the wrong lines.
                    let warnings = faults.without(|number| kept.contains_key(&number)).into_sorted();
                    return Ok((config, warnings, kept));
                }
                _ => {}
            }
            let blamed = self.blamed(&faults, &kept);
            for number in &blamed {
                let file = &self.files[usize::from(*number)];
                let good = self.keep.and_then(|texts| texts.get(&file.path));
                let name = faults.name(*number).to_string();
                let report = KeptFile { file: name, in_use: good.is_some(), faults: faults.touching(*number) };
                kept.insert(*number, (good.cloned(), report));
            }
            on_disk.get_or_insert_with(|| faults.into_sorted());
            if blamed.is_empty() {
                break;
            }
        }
        Err(on_disk.unwrap_or_default())
    }

    fn judge(&self, kept: &Kept) -> (Option<Config>, Faults) {
        let mut faults = self.found.clone();
        let text = |number: usize| match kept.get(&number_of(number)) {
            Some((good, _)) => good.as_deref().ok_or(None),
            None => self.files[number].text.as_deref().map_err(Some),
        };
        let part = |(number, file): (usize, &'t File)| Part {
            path: &file.path,
            name: &file.name,
            text: text(number).unwrap_or_default(),
        };
        let parts: Vec<Part<'_>> = self.files.iter().enumerate().map(part).collect();
        let mut nodes = self.nodes;
        let parse = |number: u16, faults: &mut Faults| {
            let unreadable = match text(usize::from(number)) {
                Ok(text) => match raw::parse(text, number, &mut nodes) {
                    Ok(root) => return Parsed::Tree(root),
                    Err(unreadable) => unreadable,
                },
                Err(None) => return Parsed::LeftOut,
                Err(Some(unread)) => {
                    let place = self.files[usize::from(number)].place;
                    report_unread(unread, number, faults).see(place, "included here");
                    return Parsed::Faulty;
                }
            };
            report_unreadable(unreadable, faults);
            Parsed::Faulty
        };
        let config = check::config(self.file, self.root, &parts, parse, self.now, &mut faults);
        if let Some(config) = config.as_ref().filter(|_| !faults.any_errors()) {
            (self.judge)(config).into_iter().for_each(|fault| faults.take_up(fault));
        }
        (config, faults)
    }

    /// The included files to do without: one that an error stands in, if it changed since it was good, else the one that the
    /// error collides with. When none is left to blame, the whole is refused.
    fn blamed(&self, faults: &Faults, kept: &Kept) -> Vec<u16> {
        let Some(good) = self.keep else { return Vec::new() };
        let to_blame = |number: u16| {
            let file = &self.files[usize::from(number)];
            let changed = || file.text.as_ref().ok() != good.get(&file.path);
            number != 0 && !kept.contains_key(&number) && changed()
        };
        let mut blamed = Vec::new();
        for (file, related) in faults.errors() {
            let number = [Some(file), related].into_iter().flatten().find(|n| to_blame(*n));
            blamed.extend(number.filter(|n| !blamed.contains(n)));
        }
        blamed
    }
}

fn good_texts(main: Arc<str>, files: &[File], kept: &Kept, directories: Vec<PathBuf>) -> LastGood {
    let order = files.iter().skip(1).map(|file| file.path.clone()).collect();
    let texts = files.iter().enumerate().skip(1).filter_map(|(number, file)| {
        let text = match kept.get(&number_of(number)) {
            Some((good, _)) => good.clone()?,
            None => file.text.as_ref().ok()?.clone(),
        };
        Some((file.path.clone(), text))
    });
    LastGood(Some(Arc::new(Texts { main, order, included: texts.collect(), directories })))
}

fn refused(mut faults: Faults, number: u16, unread: &Unread) -> Vec<Fault> {
    report_unread(unread, number, &mut faults);
    faults.into_sorted()
}

fn report_unread<'f>(unread: &Unread, number: u16, faults: &'f mut Faults) -> Reported<'f> {
    let place = Place { file: number, line: unread.line, column: unread.line.min(1) };
    faults.add(unread.code, place, String::new(), unread.message.clone(), unread.remedy.to_owned())
}

fn report_unreadable(unreadable: Unreadable, faults: &mut Faults) {
    let (code, place, message, remedy) = match unreadable {
        Unreadable::Syntax(place, message) => {
            (codes::SYNTAX, place, message, "mend the YAML; what follows this place was not read")
        }
        Unreadable::TooMuch(place, message) => {
            (codes::TOO_MUCH, place, message, "split the file, or use fewer aliases")
        }
    };
    faults.add(code, place, String::new(), message, remedy.to_owned());
}
