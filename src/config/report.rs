//! Gathers what is wrong while a config is read, and knows which of its files each fault stands in.
//!
//! A place has the number of a file; here the number becomes the name that people see. Every reader and every check writes
//! into one [`Faults`]; `load` asks it who is to blame.

use std::sync::Arc;

use super::fault::{Fault, Related, Severity};
use super::raw::Place;

/// What is wrong, in the order it is met.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Names by number: the config file, then the included ones.
    files: Vec<Arc<str>>,
    list: Vec<Found>,
}

#[derive(Clone, Debug)]
struct Found {
    fault: Fault,
    file: u16,
    related: Option<u16>,
}

/// A fault that was recorded just now; it takes a related place.
pub struct Reported<'f> {
    files: &'f [Arc<str>],
    found: &'f mut Found,
}

impl Faults {
    /// `file`: the config file, as people see it.
    pub fn new(file: Arc<str>) -> Faults {
        Faults { files: vec![file], list: Vec::new() }
    }

    /// Gives an included file the next number.
    pub fn add_file(&mut self, name: Arc<str>) {
        self.files.push(name);
    }

    /// The name of a file as people see it.
    pub fn name(&self, file: u16) -> &Arc<str> {
        &self.files[usize::from(file)]
    }

    /// Records a fault; a code that begins with `W` is a warning.
    pub fn add(
        &mut self,
        code: &'static str,
        place: Place,
        path: String,
        message: String,
        remedy: String,
    ) -> Reported<'_> {
        let severity = if code.starts_with('W') { Severity::Warning } else { Severity::Error };
        let Place { file, line, column } = place;
        let name = self.name(file).to_string();
        let fault = Fault { code, severity, message, file: name, line, column, path, remedy, related: None };
        self.list.push(Found { fault, file, related: None });
        Reported { files: &self.files, found: self.list.last_mut().expect("it was pushed just now") }
    }

    /// Records a fault that was found in what the files mean, not in how they are written.
    pub fn take_up(&mut self, fault: Fault) {
        let number = |name: &str| self.files.iter().position(|file| **file == *name);
        let number = |name: &str| number(name).and_then(|n| u16::try_from(n).ok());
        let (file, related) = (number(&fault.file).unwrap_or(0), fault.related.as_ref().and_then(|r| number(&r.file)));
        self.list.push(Found { fault, file, related });
    }

    pub fn any_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Of every error the file it stands in, and the file of its related place.
    pub fn errors(&self) -> impl Iterator<Item = (u16, Option<u16>)> {
        let errors = self.list.iter().filter(|found| found.fault.severity == Severity::Error);
        errors.map(|found| (found.file, found.related))
    }

    /// Those that stand in a file or point at it.
    pub fn touching(&self, file: u16) -> Vec<Fault> {
        let touches = |found: &Found| found.file == file || found.related == Some(file);
        let list = self.list.iter().filter(|found| touches(found)).cloned().collect();
        Faults { files: Vec::new(), list }.into_sorted()
    }

    /// The others than those of some files.
    pub fn without(mut self, left_out: impl Fn(u16) -> bool) -> Faults {
        self.list.retain(|found| !left_out(found.file));
        self
    }

    /// All of them, file by file in the order of the text.
    pub fn into_sorted(mut self) -> Vec<Fault> {
        self.list.sort_by_key(|found| (found.file, found.fault.line, found.fault.column));
        self.list.into_iter().map(|found| found.fault).collect()
    }
}

impl Reported<'_> {
    /// Names another place that matters.
    pub fn see(self, place: Place, message: impl Into<String>) {
        let file = self.files[usize::from(place.file)].to_string();
        self.found.related = Some(place.file);
        self.found.fault.related =
            Some(Related { message: message.into(), file, line: place.line, column: place.column });
    }
}
