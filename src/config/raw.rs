//! YAML text as a tree of plain nodes that know where they stand. The only file that knows the YAML library.
//!
//! The tree is built from parser events and not by `serde`, because a derived `Deserialize` stops at the first fault and
//! `check` must tell them all. Anchors, aliases and merge keys (`<<`) are resolved here; what a key means is `check`'s
//! business. Everything a file could grow without limit is bounded: bytes, depth, and nodes after aliases are expanded
//! (an alias shares its node, so memory follows the text, and the node count bounds the walk: no "billion laughs").

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

/// Of all files together: 100 000 routes are about 15 MiB.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The deepest key of the format lies 7 levels down.
const MAX_DEPTH: usize = 32;
/// In all files together; `MAX_BYTES` written as densely as ours have fewer.
const MAX_NODES: u64 = 10_000_000;

/// A place in the config: the file's number, line and column, both 1-based; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 0 is the config file itself, then the included ones in their order.
    pub file: u16,
    pub line: u32,
    pub column: u32,
}

/// A value and where it is written (for what came by an alias: where it was defined).
#[derive(Clone, Debug)]
pub struct Node<'t> {
    pub place: Place,
    pub value: Value<'t>,
}

#[derive(Clone, Debug)]
pub enum Value<'t> {
    /// `plain`: written without quotes, so it may be a number, a boolean or nothing (YAML 1.2 core schema).
    Scalar {
        text: Cow<'t, str>,
        plain: bool,
    },
    Seq(Rc<[Node<'t>]>),
    Map(Rc<[Entry<'t>]>),
}

#[derive(Clone, Debug)]
pub struct Entry<'t> {
    pub place: Place,
    pub key: Cow<'t, str>,
    pub value: Node<'t>,
}

/// Why there is no tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not YAML, or YAML that the format has no use for.
    Syntax(Place, String),
    /// A bound was reached.
    TooMuch(Place, String),
}

/// Parses the one document of a file. `file`: its number, for places. `nodes`: how many values were met so far in all files.
pub fn parse<'t>(text: &'t str, file: u16, nodes: &mut u64) -> Result<Node<'t>, Unreadable> {
    let mut options = Options::default();
    options.emit_comments = false;
    let mut builder = Builder { file, nodes, open: Vec::new(), anchors: HashMap::new(), root: None };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(file, &error))?;
        builder.take(event, &span)?;
    }
    let empty = || Unreadable::Syntax(place(file, 1, 0), "the file holds no YAML".to_owned());
    builder.root.ok_or_else(empty)
}

fn syntax(file: u16, error: &ScanError) -> Unreadable {
    let mark = error.marker();
    Unreadable::Syntax(place(file, mark.line(), mark.col()), error.info())
}

/// `column`: 0-based, as the parser counts.
fn place(file: u16, line: usize, column: usize) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { file, line: number(line.max(1)), column: number(column + 1) }
}

/// The tree under construction: a stack of open collections.
struct Builder<'t, 'n> {
    file: u16,
    open: Vec<Open<'t>>,
    /// Finished anchored nodes, with the nodes that lie below each.
    anchors: HashMap<usize, (Node<'t>, u64)>,
    root: Option<Node<'t>>,
    nodes: &'n mut u64,
}

struct Open<'t> {
    place: Place,
    anchor: usize,
    /// `Builder::nodes` when it was opened.
    nodes_before: u64,
    items: Items<'t>,
}

enum Items<'t> {
    Seq(Vec<Node<'t>>),
    Map { entries: Vec<Entry<'t>>, key: Option<(Place, Cow<'t, str>)>, merges: Vec<Node<'t>> },
}

impl<'t> Builder<'t, '_> {
    fn take(&mut self, event: Event<'t>, span: &Span) -> Result<(), Unreadable> {
        let at = place(self.file, span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_text(tag.as_deref(), at)?;
                self.count(1, at)?;
                self.finish(Node { place: at, value: Value::Scalar { text, plain } }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => self.open(at, anchor, tag.as_deref(), Items::Seq(Vec::new())),
            Event::MappingStart(_, anchor, tag) => {
                let items = Items::Map { entries: Vec::new(), key: None, merges: Vec::new() };
                self.open(at, anchor, tag.as_deref(), items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => {
                let Some((node, below)) = self.anchors.get(&id).cloned() else {
                    return Err(Unreadable::Syntax(at, "this alias lies inside its own anchor".to_owned()));
                };
                self.count(below, at)?;
                self.finish(node, 0, below)
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Unreadable::Syntax(at, "a second document begins here; the file must hold one".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: u64, at: Place) -> Result<(), Unreadable> {
        *self.nodes = self.nodes.saturating_add(nodes);
        if *self.nodes > MAX_NODES {
            return Err(Unreadable::TooMuch(at, format!("more than {MAX_NODES} values, aliases expanded")));
        }
        Ok(())
    }

    fn open(&mut self, at: Place, anchor: usize, tag: Option<&Tag>, items: Items<'t>) -> Result<(), Unreadable> {
        is_text(tag, at)?;
        if self.open.len() == MAX_DEPTH {
            return Err(Unreadable::TooMuch(at, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        let nodes_before = *self.nodes;
        self.count(1, at)?;
        self.open.push(Open { place: at, anchor, nodes_before, items });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Unreadable> {
        let open = self.open.pop().expect("the parser closes only what it opened");
        let value = match open.items {
            Items::Seq(items) => Value::Seq(items.into()),
            Items::Map { entries, merges, .. } => Value::Map(merged(entries, merges)?.into()),
        };
        let below = *self.nodes - open.nodes_before;
        self.finish(Node { place: open.place, value }, open.anchor, below)
    }

    /// Hands a finished node to the collection it belongs to.
    fn finish(&mut self, node: Node<'t>, anchor: usize, below: u64) -> Result<(), Unreadable> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), below));
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::Seq(items)) => items.push(node),
            Some(Items::Map { entries, key, merges }) => match key.take() {
                None => *key = Some(as_key(node)?),
                Some((_, name)) if name == MERGE => merges.push(node),
                Some((place, key)) => entries.push(Entry { place, key, value: node }),
            },
        }
        Ok(())
    }
}

/// The merge key of YAML 1.1, which configs still rely on.
const MERGE: &str = "<<";

fn as_key(node: Node<'_>) -> Result<(Place, Cow<'_, str>), Unreadable> {
    match node.value {
        Value::Scalar { text, .. } => Ok((node.place, text)),
        _ => Err(Unreadable::Syntax(node.place, "a key must be plain text".to_owned())),
    }
}

/// Whether a tag says "this is text"; any other tag is refused: the format has no use for one.
fn is_text(tag: Option<&Tag>, at: Place) -> Result<bool, Unreadable> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.core_suffix() == Some("str") => Ok(true),
        Some(tag) => Err(Unreadable::Syntax(at, format!("the tag `{}` has no meaning here", tag.original()))),
    }
}

/// Adds what `<<` brings: a key that is written out wins, then the earlier of several merged mappings.
fn merged<'t>(mut entries: Vec<Entry<'t>>, merges: Vec<Node<'t>>) -> Result<Vec<Entry<'t>>, Unreadable> {
    if merges.is_empty() {
        return Ok(entries);
    }
    let mut present: HashSet<Cow<'t, str>> = entries.iter().map(|e| e.key.clone()).collect();
    for source in merges {
        let sources: &[Node<'t>] = match &source.value {
            Value::Seq(items) => items,
            _ => std::slice::from_ref(&source),
        };
        for source in sources {
            let Value::Map(map) = &source.value else {
                return Err(Unreadable::Syntax(source.place, "`<<` takes a mapping or a list of mappings".to_owned()));
            };
            entries.extend(map.iter().filter(|e| present.insert(e.key.clone())).cloned());
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
