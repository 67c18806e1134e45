//! Names that other parts of the file refer to.

use ahash::{AHashMap, AHashSet};

use super::{Faults, Field, Place, codes};
use crate::config::nearest::likely;
use crate::config::read::shown;

/// The names of one kind of thing, each with its place in the model's list.
pub struct Names {
    kind: &'static str,
    unknown: &'static str,
    ids: AHashMap<String, (u32, Place)>,
    /// What was suggested for a wrong name: a renamed agency may be asked for by 100 000 routes.
    guesses: AHashMap<String, Option<String>>,
    used: AHashSet<u32>,
}

impl Names {
    /// `kind`: what one is called in messages. `unknown`: the code when there is none of the name.
    pub fn new(kind: &'static str, unknown: &'static str) -> Names {
        let (ids, guesses, used) = (AHashMap::new(), AHashMap::new(), AHashSet::new());
        Names { kind, unknown, ids, guesses, used }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Adds a name that is written at `field`. The first of a name wins; a second is a fault.
    pub fn add(&mut self, name: &str, id: usize, field: &Field<'_>, faults: &mut Faults) {
        if let Some((_, first)) = self.ids.get(name) {
            let message = format!("the {} `{name}` is defined twice", self.kind);
            field.fault(faults, codes::NAME_TWICE, message, "rename one of the two").see(*first, "first defined here");
            return;
        }
        self.ids.insert(name.to_owned(), (id as u32, field.place()));
    }

    /// Adds a name that is the key of a mapping at `field`, where `read` finds what is given twice; in another file it is
    /// found here.
    pub fn add_key(&mut self, name: &str, id: usize, place: Place, field: &Field<'_>, faults: &mut Faults) {
        match self.ids.get(name) {
            Some((_, first)) if first.file != place.file => {
                let message = format!("the {} `{name}` is defined in two files", self.kind);
                let fault =
                    faults.add(codes::NAME_TWICE, place, field.path(), message, "rename one of the two".to_owned());
                fault.see(*first, "first defined here");
            }
            Some(_) => {}
            None => drop(self.ids.insert(name.to_owned(), (id as u32, place))),
        }
    }

    /// The id of the thing a field names; a fault when there is none.
    pub fn resolve(&mut self, field: &Field<'_>, faults: &mut Faults) -> Option<u32> {
        let name = field.text(faults)?;
        let id = self.find(name);
        if id.is_none() {
            self.report_unknown(name, field.place(), field.path(), faults);
        }
        id
    }

    /// The id of a name, which counts as used then.
    pub fn find(&mut self, name: &str) -> Option<u32> {
        let id = self.ids.get(name).map(|(id, _)| *id)?;
        self.used.insert(id);
        Some(id)
    }

    /// Says that a name that is written at a place stands for nothing.
    pub fn report_unknown(&mut self, name: &str, place: Place, path: String, faults: &mut Faults) {
        if !self.guesses.contains_key(name) {
            let guess = likely(name, self.ids.keys().map(String::as_str)).map(str::to_owned);
            self.guesses.insert(name.to_owned(), guess);
        }
        let (kind, written) = (self.kind, shown(name));
        let (message, remedy) = match &self.guesses[name] {
            Some(guess) => (
                format!("unknown {kind} `{written}`, did you mean `{guess}`?"),
                format!("write `{guess}`, or define the {kind} `{written}`"),
            ),
            None => (
                format!("unknown {kind} `{written}`"),
                format!("define the {kind} `{written}`, or name one that is defined"),
            ),
        };
        faults.add(self.unknown, place, path, message, remedy);
    }

    /// Those that nothing referred to, in no order.
    pub fn unused(&self) -> impl Iterator<Item = (&str, Place)> {
        let idle = self.ids.iter().filter(|(_, (id, _))| !self.used.contains(id));
        idle.map(|(name, (_, place))| (name.as_str(), *place))
    }

    /// The id, when there is exactly one.
    pub fn only(&self) -> Option<u32> {
        if self.ids.len() == 1 { self.ids.values().next().map(|(id, _)| *id) } else { None }
    }
}

/// Names go into labels, headers and URLs: 1 to 100 letters, digits, `.`, `_` and `-`.
pub fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Refuses a key that cannot be a name.
pub fn check_key(name: &str, place: Place, field: &Field<'_>, faults: &mut Faults) {
    if !is_name(name) {
        let message = format!("`{}` cannot be a name", shown(name));
        faults.add(codes::BAD_NAME, place, field.path(), message, NAME_REMEDY.to_owned());
    }
}

/// Reads the name of a thing.
pub fn read<'a>(field: &Field<'a>, faults: &mut Faults) -> Option<&'a str> {
    let name = field.text(faults)?;
    if is_name(name) {
        return Some(name);
    }
    field.fault(faults, codes::BAD_NAME, format!("`{}` cannot be a name", shown(name)), NAME_REMEDY);
    None
}

const NAME_REMEDY: &str = "use 1 to 100 letters, digits, `.`, `_` and `-`";
