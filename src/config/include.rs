//! `include`: which other files belong to the config, and what happens when one of them is faulty.
//!
//! Reads the key and finds the files; opens none of them. Called by `load`, before anything is checked.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::codes;
use super::glob::{self, Matches};
use super::raw::{Node, Place};
use super::read::{Field, shown};
use super::report::Faults;

/// More are a mistake: a pattern that reaches into a foreign directory.
const MAX_FILES: usize = 10_000;

/// What `include` asks for.
#[derive(Debug, Default)]
pub struct Include {
    /// Absolute, each once, none of them the config file itself.
    pub files: Vec<Included>,
    /// Absolute directories in which a file that appears may belong to the config.
    pub directories: Vec<PathBuf>,
    /// `on_fault: keep_last_good`
    pub keep_last_good: bool,
}

#[derive(Debug)]
pub struct Included {
    pub path: PathBuf,
    /// Where `include` asks for it.
    pub place: Place,
}

/// Reads the key of a config file's tree. `main`: the file's absolute path; patterns start at its directory.
pub fn read(root: &Node<'_>, main: &Path, faults: &mut Faults) -> Include {
    let mut include = Include::default();
    let root = Field::root(root);
    let Some(field) = root.peek("include") else { return include };
    if !field.is_table() {
        patterns(&field, main, &mut include, faults);
        return include;
    }
    let Some(table) = field.table(faults, &["files", "on_fault"]) else { return include };
    if let Some(policy) = table.get("on_fault") {
        include.keep_last_good = policy.word(faults, &[("refuse", false), ("keep_last_good", true)]).unwrap_or(false);
    }
    if let Some(files) = table.need(faults, "files", "name the files: `files: routes.d/*.yaml`") {
        patterns(&files, main, &mut include, faults);
    }
    include
}

/// A pattern, or a list of them.
fn patterns(field: &Field<'_>, main: &Path, include: &mut Include, faults: &mut Faults) {
    if !field.is_list() {
        pattern(field, main, include, faults);
        return;
    }
    for item in field.some_items(faults).into_iter().flatten() {
        pattern(&item, main, include, faults);
    }
}

fn pattern(field: &Field<'_>, main: &Path, include: &mut Include, faults: &mut Faults) {
    let Some(text) = field.text(faults) else { return };
    if text.contains("**") {
        let message = "`**` does not reach into deeper directories here";
        field.fault(faults, codes::BAD_INCLUDE, message, "write each level: `teams/*/*.yaml`");
        return;
    }
    let base = main.parent().unwrap_or(Path::new("/"));
    match glob::expand(&base.join(text)) {
        Ok(matches) => take(matches, text, field, main, include, faults),
        Err((directory, error)) => unlisted(&directory, &error, field, faults),
    }
}

fn take(matches: Matches, text: &str, field: &Field<'_>, main: &Path, include: &mut Include, faults: &mut Faults) {
    let Matches { files, directories } = matches;
    if files.is_empty() {
        let message = format!("no file matches `{}`", shown(text));
        field.fault(faults, codes::NOTHING_INCLUDED, message, "correct the pattern, or add a file");
    }
    if files.iter().any(|file| file == main) {
        let message = format!("`{}` includes the file that it stands in", shown(text));
        let remedy = "keep the included files in a directory of their own: `include: routes.d/*.yaml`";
        field.fault(faults, codes::BAD_INCLUDE, message, remedy);
        return;
    }
    include.directories.extend(directories);
    let known: HashSet<PathBuf> = include.files.iter().map(|file| file.path.clone()).collect();
    for path in files.into_iter().filter(|path| !known.contains(path)) {
        if include.files.len() == MAX_FILES {
            let message = format!("more than {MAX_FILES} files are included");
            field.fault(faults, codes::TOO_MUCH, message, "narrow the pattern, or join files");
            return;
        }
        include.files.push(Included { path, place: field.place() });
    }
}

fn unlisted(directory: &Path, error: &io::Error, field: &Field<'_>, faults: &mut Faults) {
    let message = format!("the directory `{}` cannot be listed: {error}", directory.display());
    field.fault(faults, codes::FILE_UNREADABLE, message, "name a directory that this user may list");
}
