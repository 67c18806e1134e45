//! Paths as one trie: nodes in an arena, literal children in one hash table, segments stored once.
//!
//! A search visits the ends that fit a path from the most to the least specific (literal, `{x}`, end of a prefix) and
//! stops where its caller says so; the table's precedence is this order and nothing else. It takes no lock and allocates
//! nothing. It knows paths alone: hosts are different roots, methods and listeners are the caller's question.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use crate::config::model::{PathPattern, Segment};
use crate::words::RouteId;

pub(super) type NodeId = u32;

/// No such node, no such end.
const NONE: u32 = u32::MAX;

/// A route that ends at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub route: RouteId,
    /// The number of its filter in the table.
    pub filter: u32,
    /// No further entry belongs to this end.
    last: bool,
}

#[derive(Clone, Copy)]
struct Node {
    /// The child by `{x}`.
    any: NodeId,
    /// First entry of the paths that end here.
    exact: u32,
    /// First entry of the prefixes that end here.
    prefix: u32,
    /// Whether the edges have a literal child for this node: spares a look-up where they have none.
    literals: bool,
}

/// The compiled trie. Node ids are valid for the trie that gave them.
pub(super) struct Trie {
    nodes: Vec<Node>,
    edges: Edges,
    entries: Vec<Entry>,
}

impl Trie {
    /// Shows `take` the routes under `root` whose pattern fits `path` (canonical, begins with `/`), the most specific
    /// first, until it takes one.
    pub fn search(&self, root: NodeId, path: &[u8], mut take: impl FnMut(Entry) -> bool) -> Option<RouteId> {
        let rest = path.strip_prefix(b"/")?;
        self.descend(root, Some(rest), &mut take)
    }

    /// `rest`: the segments below `node`; `None` when the path is used up. A node is visited at most once in a search,
    /// and never deeper than the longest pattern.
    fn descend(&self, node: NodeId, rest: Option<&[u8]>, take: &mut impl FnMut(Entry) -> bool) -> Option<RouteId> {
        let node_id = node;
        let node = &self.nodes[node as usize];
        let found = match rest {
            None => self.visit(node.exact, take),
            Some(rest) => {
                let (segment, below) = match memchr::memchr(b'/', rest) {
                    None => (rest, None),
                    Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
                };
                let literal = if node.literals { self.edges.child(node_id, segment) } else { None };
                literal.and_then(|child| self.descend(child, below, take)).or_else(|| {
                    let fits_any = node.any != NONE && !segment.is_empty();
                    fits_any.then(|| self.descend(node.any, below, take)).flatten()
                })
            }
        };
        found.or_else(|| self.visit(node.prefix, take))
    }

    fn visit(&self, first: u32, take: &mut impl FnMut(Entry) -> bool) -> Option<RouteId> {
        if first == NONE {
            return None;
        }
        for entry in &self.entries[first as usize..] {
            if take(*entry) {
                return Some(entry.route);
            }
            if entry.last {
                break;
            }
        }
        None
    }

    /// What the trie keeps on the heap, in bytes.
    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.edges.slots.capacity() * size_of::<Slot>()
            + self.edges.text.capacity()
    }
}

/// A trie that still grows.
#[derive(Default)]
pub(super) struct TrieBuilder {
    nodes: Vec<Node>,
    edges: Edges,
    /// Where each distinct segment stands in the edges' text.
    interned: HashMap<Box<[u8]>, u32, RandomState>,
    ends: Vec<End>,
}

/// In the order in which a search visits the ends of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    node: NodeId,
    prefix: bool,
    /// A method list goes before none.
    any_method: bool,
    route: RouteId,
    filter: u32,
}

impl TrieBuilder {
    /// A node that nothing leads to yet: a root, unless its maker links it.
    pub fn add_node(&mut self) -> NodeId {
        let id = u32::try_from(self.nodes.len()).expect("nodes are bounded by the size of a file");
        self.nodes.push(Node { any: NONE, exact: NONE, prefix: NONE, literals: false });
        id
    }

    pub fn insert(&mut self, root: NodeId, pattern: &PathPattern, any_method: bool, route: RouteId, filter: u32) {
        let (segments, prefix) = match pattern {
            PathPattern::Exact(segments) => (segments, false),
            PathPattern::Prefix(segments) => (segments, true),
        };
        let node = segments.iter().fold(root, |node, segment| self.child(node, segment));
        self.ends.push(End { node, prefix, any_method, route, filter });
    }

    fn child(&mut self, node: NodeId, segment: &Segment) -> NodeId {
        match segment {
            Segment::Any(_) => match self.nodes[node as usize].any {
                NONE => {
                    let child = self.add_node();
                    self.nodes[node as usize].any = child;
                    child
                }
                child => child,
            },
            Segment::Literal(text) => match self.edges.child(node, text.as_bytes()) {
                Some(child) => child,
                None => {
                    let child = self.add_node();
                    let start = self.intern(text.as_bytes());
                    self.edges.insert(Slot { parent: node, child, start, len: text.len() as u32 });
                    self.nodes[node as usize].literals = true;
                    child
                }
            },
        }
    }

    fn intern(&mut self, segment: &[u8]) -> u32 {
        if let Some(start) = self.interned.get(segment) {
            return *start;
        }
        let start = u32::try_from(self.edges.text.len()).expect("text is bounded by the size of a file");
        self.edges.text.extend_from_slice(segment);
        self.interned.insert(segment.into(), start);
        start
    }

    pub fn build(mut self) -> Trie {
        self.ends.sort_unstable();
        self.ends.dedup();
        let mut entries = Vec::with_capacity(self.ends.len());
        for (i, end) in self.ends.iter().enumerate() {
            let place = (end.node, end.prefix);
            let next = self.ends.get(i + 1).map(|next| (next.node, next.prefix));
            let node = &mut self.nodes[end.node as usize];
            let first = if end.prefix { &mut node.prefix } else { &mut node.exact };
            if *first == NONE {
                *first = i as u32;
            }
            entries.push(Entry { route: end.route, filter: end.filter, last: next != Some(place) });
        }
        self.nodes.shrink_to_fit();
        self.edges.text.shrink_to_fit();
        Trie { nodes: self.nodes, edges: self.edges, entries }
    }
}

/// All literal children of all nodes: open addressing with linear probing, at most three quarters full. Callers cannot
/// lengthen a probe, only the file can, so the hash needs no secret key and a table is the same after every load.
struct Edges {
    /// A power of two, never full. A slot with `child == NONE` is free.
    slots: Vec<Slot>,
    used: usize,
    text: Vec<u8>,
    hash: RandomState,
}

#[derive(Clone, Copy)]
struct Slot {
    parent: NodeId,
    child: NodeId,
    start: u32,
    len: u32,
}

const FREE: Slot = Slot { parent: NONE, child: NONE, start: 0, len: 0 };

impl Default for Edges {
    fn default() -> Edges {
        Edges { slots: vec![FREE; 16], used: 0, text: Vec::new(), hash: RandomState::with_seeds(1, 2, 3, 4) }
    }
}

impl Edges {
    fn child(&self, parent: NodeId, segment: &[u8]) -> Option<NodeId> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(parent, segment);
        loop {
            let slot = &self.slots[at & mask];
            if slot.child == NONE {
                return None;
            }
            if slot.parent == parent && slot.len as usize == segment.len() && self.text(slot) == segment {
                return Some(slot.child);
            }
            at += 1;
        }
    }

    /// The edge must be new.
    fn insert(&mut self, slot: Slot) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let bigger = vec![FREE; self.slots.len() * 2];
            for old in std::mem::replace(&mut self.slots, bigger) {
                if old.child != NONE {
                    self.place(old);
                }
            }
        }
        self.place(slot);
        self.used += 1;
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = self.home(slot.parent, self.text(&slot));
        while self.slots[at & mask].child != NONE {
            at += 1;
        }
        self.slots[at & mask] = slot;
    }

    fn home(&self, parent: NodeId, segment: &[u8]) -> usize {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u32(parent);
        hasher.write(segment);
        hasher.finish() as usize & (self.slots.len() - 1)
    }

    fn text(&self, slot: &Slot) -> &[u8] {
        &self.text[slot.start as usize..][..slot.len as usize]
    }
}
