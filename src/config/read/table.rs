//! Mappings: which keys one may have, that none comes twice, and their values one by one. What a value looks like, `read` knows.

use std::collections::HashMap;

use super::{Field, Path, list, shown};
use crate::config::codes;
use crate::config::nearest::nearest;
use crate::config::raw::{Entry, Place, Value};
use crate::config::report::{Faults, Reported};

impl<'a> Field<'a> {
    /// A mapping whose keys are `known`; other keys are faults.
    pub fn table(&self, faults: &mut Faults, known: &[&str]) -> Option<Table<'a>> {
        self.table_besides(faults, known, &[])
    }

    /// The same, where the caller has more to say about keys that are `misplaced`.
    pub fn table_besides(&self, faults: &mut Faults, known: &[&str], misplaced: &[&str]) -> Option<Table<'a>> {
        let Value::Map(_) = &self.node.value else {
            let wanted = format!("a mapping with {}", list(known.iter().copied()));
            return self.wrong_type(faults, &wanted, "write a mapping: `key: value`");
        };
        let entries = self.entries(faults, "")?;
        let is_known = |entry: &&Entry<'_>| known.contains(&&*entry.key) || misplaced.contains(&&*entry.key);
        for entry in entries.iter().filter(|entry| !is_known(entry)) {
            let all = list(known.iter().copied());
            let near = nearest(&entry.key, known.iter().chain(misplaced).copied()).unwrap_or_default();
            let message = format!("unknown key `{}`, did you mean `{near}`?", shown(&entry.key));
            let path = Path::Key(&self.path, &entry.key).to_string();
            faults.add(codes::UNKNOWN_KEY, entry.place, path, message, format!("the keys here are {all}"));
        }
        Some(Table { entries, path: self.path, place: self.place() })
    }

    /// A mapping whose keys are names.
    pub fn named(&self, faults: &mut Faults, wanted: &str) -> Option<Table<'a>> {
        let entries = self.entries(faults, wanted)?;
        Some(Table { entries, path: self.path, place: self.place() })
    }

    fn entries(&self, faults: &mut Faults, wanted: &str) -> Option<&'a [Entry<'a>]> {
        let Value::Map(entries) = &self.node.value else {
            return self.wrong_type(faults, wanted, "write a mapping: `key: value`");
        };
        self.refuse_duplicates(faults, entries);
        Some(entries)
    }

    fn refuse_duplicates(&self, faults: &mut Faults, entries: &[Entry<'_>]) {
        let mut twice = |entry: &Entry<'_>, first: Place| {
            let path = Path::Key(&self.path, &entry.key).to_string();
            let message = format!("`{}` is given twice", shown(&entry.key));
            let remedy = "keep one of the two, or rename one".to_owned();
            faults.add(codes::DUPLICATE_KEY, entry.place, path, message, remedy).see(first, "first given here");
        };
        // Nearly every mapping is small: comparing all pairs is cheaper there than hashing.
        if entries.len() <= 8 {
            for (i, entry) in entries.iter().enumerate() {
                if let Some(first) = entries[..i].iter().find(|e| e.key == entry.key) {
                    twice(entry, first.place);
                }
            }
            return;
        }
        let mut seen: HashMap<&str, Place> = HashMap::with_capacity(entries.len());
        for entry in entries {
            match seen.get(&*entry.key) {
                Some(first) => twice(entry, *first),
                None => drop(seen.insert(&entry.key, entry.place)),
            }
        }
    }
}

/// A mapping that was looked at once: known keys, none twice (or a fault was recorded).
#[derive(Clone, Copy)]
pub struct Table<'a> {
    entries: &'a [Entry<'a>],
    path: Path<'a>,
    place: Place,
}

impl<'a> Table<'a> {
    pub fn path(&self) -> String {
        self.path.to_string()
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    pub fn get(&self, key: &'static str) -> Option<Field<'_>> {
        let entry = self.entries.iter().find(|e| e.key == key)?;
        Some(Field { node: &entry.value, path: Path::Key(&self.path, key) })
    }

    /// The value of a key that must be there.
    pub fn need(&self, faults: &mut Faults, key: &'static str, remedy: &str) -> Option<Field<'_>> {
        let found = self.get(key);
        if found.is_none() {
            let message = format!("`{key}` is missing");
            faults.add(codes::MISSING_KEY, self.place, self.path(), message, remedy.to_owned());
        }
        found
    }

    /// Where a key is written.
    pub fn key_place(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|e| e.key == key).map(|e| e.place)
    }

    /// All entries: the key, where it is written, and its value. A key that is given twice comes once.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Place, Field<'_>)> {
        self.entries.iter().map(|entry| {
            let field = Field { node: &entry.value, path: Path::Key(&self.path, &entry.key) };
            (&*entry.key, entry.place, field)
        })
    }

    /// Records that something is wrong with the table as a whole.
    pub fn fault<'f>(
        &self,
        faults: &'f mut Faults,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Reported<'f> {
        faults.add(code, self.place, self.path(), message.into(), remedy.into())
    }
}
