//! Paths as one trie: nodes in an arena, the literal children of all of them in one hash index.
//!
//! A search visits the ends that fit a path from the most to the least specific (literal, `{x}`, end of a prefix) and
//! stops where its caller says so; the table's precedence is this order and nothing else. It takes no lock and allocates
//! nothing. It knows paths alone: hosts are different roots, methods and listeners are the caller's question.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use crate::config::model::{PathPattern, Segment};
use crate::words::RouteId;

pub(super) type NodeId = u32;

/// No such node.
const NONE: u32 = u32::MAX;

/// A route at the end of its pattern.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub route: RouteId,
    /// The number of its filter in the table.
    pub filter: u32,
}

/// The routes whose pattern ends at one node.
#[derive(Clone, Copy)]
enum End {
    Nothing,
    /// The usual case: no second look into memory.
    One(Entry),
    /// Places in the trie's `shared`: routes that differ by method or listener.
    Many {
        first: u32,
        count: u32,
    },
}

/// All that a search asks of a node, in one cache line: with 100 000 routes the time goes into fetching lines.
#[repr(align(64))]
struct Node {
    parent: NodeId,
    /// What leads here from the parent, if a literal does.
    segment: Text,
    /// Whether literals lead on from here: spares a look-up where none do.
    literals: bool,
    /// The child by `{x}`.
    any: NodeId,
    exact: End,
    prefix: End,
}

const _: () = assert!(size_of::<Node>() == 64);

/// A segment: in place when it is short, else a part of the trie's `text`.
#[derive(Clone, Copy)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long { start: u32, len: u32 },
}

const SHORT: usize = 22;

/// The compiled trie. Node ids are valid for the trie that gave them.
pub(super) struct Trie {
    graph: Graph,
    shared: Vec<Entry>,
}

impl Trie {
    /// Shows `take` the routes under `root` whose pattern fits `path` (canonical, begins with `/`), the most specific
    /// first, until it takes one.
    pub fn search(&self, root: NodeId, path: &[u8], mut take: impl FnMut(Entry) -> bool) -> Option<RouteId> {
        let rest = path.strip_prefix(b"/")?;
        self.descend(root, Some(rest), &mut take)
    }

    /// `rest`: the segments below the node; `None` when the path is used up. A node is visited at most once in a search,
    /// and never deeper than the longest pattern.
    fn descend(&self, id: NodeId, rest: Option<&[u8]>, take: &mut impl FnMut(Entry) -> bool) -> Option<RouteId> {
        let node = &self.graph.nodes[id as usize];
        let found = match rest {
            None => self.visit(node.exact, take),
            Some(rest) => {
                let (segment, below) = match memchr::memchr(b'/', rest) {
                    None => (rest, None),
                    Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
                };
                let literal = if node.literals { self.graph.child(id, segment) } else { None };
                literal.and_then(|child| self.descend(child, below, take)).or_else(|| {
                    let fits_any = node.any != NONE && !segment.is_empty();
                    fits_any.then(|| self.descend(node.any, below, take)).flatten()
                })
            }
        };
        found.or_else(|| self.visit(node.prefix, take))
    }

    fn visit(&self, end: End, take: &mut impl FnMut(Entry) -> bool) -> Option<RouteId> {
        match end {
            End::Nothing => None,
            End::One(entry) => take(entry).then_some(entry.route),
            End::Many { first, count } => {
                let entries = &self.shared[first as usize..][..count as usize];
                entries.iter().find(|entry| take(**entry)).map(|entry| entry.route)
            }
        }
    }

    /// What the trie keeps on the heap, in bytes.
    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        self.graph.nodes.capacity() * size_of::<Node>()
            + self.graph.index.capacity() * size_of::<Slot>()
            + self.graph.text.capacity()
            + self.shared.capacity() * size_of::<Entry>()
    }
}

/// A trie that still grows.
#[derive(Default)]
pub(super) struct TrieBuilder {
    graph: Graph,
    ends: Vec<Ending>,
}

/// One route's end, in the order in which a search visits those of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ending {
    node: NodeId,
    prefix: bool,
    /// A method list goes before none.
    any_method: bool,
    route: RouteId,
    filter: u32,
}

impl TrieBuilder {
    pub fn add_root(&mut self) -> NodeId {
        self.graph.add_node(NONE, Text::EMPTY)
    }

    pub fn insert(&mut self, root: NodeId, pattern: &PathPattern, any_method: bool, route: RouteId, filter: u32) {
        let (segments, prefix) = match pattern {
            PathPattern::Exact(segments) => (segments, false),
            PathPattern::Prefix(segments) => (segments, true),
        };
        let node = segments.iter().fold(root, |node, segment| match segment {
            Segment::Any(_) => self.graph.any_child(node),
            Segment::Literal(text) => self.graph.literal_child(node, text.as_bytes()),
        });
        self.ends.push(Ending { node, prefix, any_method, route, filter });
    }

    pub fn build(mut self) -> Trie {
        self.ends.sort_unstable();
        self.ends.dedup();
        let mut shared = Vec::new();
        for group in self.ends.chunk_by(|a, b| (a.node, a.prefix) == (b.node, b.prefix)) {
            let entry = |ending: &Ending| Entry { route: ending.route, filter: ending.filter };
            let end = match group {
                [one] => End::One(entry(one)),
                many => {
                    let first = shared.len() as u32;
                    shared.extend(many.iter().map(entry));
                    End::Many { first, count: many.len() as u32 }
                }
            };
            let node = &mut self.graph.nodes[group[0].node as usize];
            *(if group[0].prefix { &mut node.prefix } else { &mut node.exact }) = end;
        }
        self.graph.nodes.shrink_to_fit();
        self.graph.text.shrink_to_fit();
        Trie { graph: self.graph, shared }
    }
}

/// The nodes, and an index of all literal children of all of them: open addressing with linear probing, at most three
/// quarters full. Callers cannot lengthen a probe, only the file can; so the hash needs no secret.
struct Graph {
    nodes: Vec<Node>,
    /// Its length is a power of two, and some slots are always free.
    index: Vec<Slot>,
    indexed: usize,
    text: Vec<u8>,
    hash: RandomState,
}

#[derive(Clone, Copy)]
struct Slot {
    /// `NONE`: the slot is free.
    node: NodeId,
    /// The upper half of the hash: nodes of other segments are hardly ever fetched. The lower half is the place.
    tag: u32,
}

const FREE: Slot = Slot { node: NONE, tag: 0 };

impl Default for Graph {
    fn default() -> Graph {
        let hash = RandomState::with_seeds(1, 2, 3, 4);
        Graph { nodes: Vec::new(), index: vec![FREE; 16], indexed: 0, text: Vec::new(), hash }
    }
}

impl Graph {
    fn child(&self, parent: NodeId, segment: &[u8]) -> Option<NodeId> {
        let hash = self.hash(parent, segment);
        let mut at = hash as u32 as usize;
        loop {
            let slot = self.index[at & (self.index.len() - 1)];
            if slot.node == NONE {
                return None;
            }
            if slot.tag == tag(hash) {
                let node = &self.nodes[slot.node as usize];
                if node.parent == parent && node.segment.read(&self.text) == segment {
                    return Some(slot.node);
                }
            }
            at += 1;
        }
    }

    fn any_child(&mut self, parent: NodeId) -> NodeId {
        match self.nodes[parent as usize].any {
            NONE => {
                let child = self.add_node(parent, Text::EMPTY);
                self.nodes[parent as usize].any = child;
                child
            }
            child => child,
        }
    }

    fn literal_child(&mut self, parent: NodeId, segment: &[u8]) -> NodeId {
        if let Some(child) = self.child(parent, segment) {
            return child;
        }
        if (self.indexed + 1) * 4 > self.index.len() * 3 {
            self.double_index();
        }
        let text = Text::new(segment, &mut self.text);
        let node = self.add_node(parent, text);
        self.nodes[parent as usize].literals = true;
        self.place(node, self.hash(parent, segment));
        self.indexed += 1;
        node
    }

    fn add_node(&mut self, parent: NodeId, segment: Text) -> NodeId {
        let id = u32::try_from(self.nodes.len()).expect("nodes are bounded by the size of a file");
        let (exact, prefix) = (End::Nothing, End::Nothing);
        self.nodes.push(Node { parent, segment, literals: false, any: NONE, exact, prefix });
        id
    }

    fn double_index(&mut self) {
        let bigger = vec![FREE; self.index.len() * 2];
        for slot in std::mem::replace(&mut self.index, bigger) {
            if slot.node != NONE {
                let node = &self.nodes[slot.node as usize];
                self.place(slot.node, self.hash(node.parent, node.segment.read(&self.text)));
            }
        }
    }

    /// Indexes a node that is not indexed yet.
    fn place(&mut self, node: NodeId, hash: u64) {
        let mask = self.index.len() - 1;
        let mut at = hash as u32 as usize;
        while self.index[at & mask].node != NONE {
            at += 1;
        }
        self.index[at & mask] = Slot { node, tag: tag(hash) };
    }

    fn hash(&self, parent: NodeId, segment: &[u8]) -> u64 {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u32(parent);
        hasher.write(segment);
        hasher.finish()
    }
}

const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Text {
    const EMPTY: Text = Text::Short { len: 0, bytes: [0; SHORT] };

    fn new(segment: &[u8], text: &mut Vec<u8>) -> Text {
        let len = segment.len();
        if len <= SHORT {
            let mut bytes = [0; SHORT];
            bytes[..len].copy_from_slice(segment);
            return Text::Short { len: len as u8, bytes };
        }
        let start = u32::try_from(text.len()).expect("text is bounded by the size of a file");
        text.extend_from_slice(segment);
        Text::Long { start, len: len as u32 }
    }

    fn read<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        match self {
            Text::Short { len, bytes } => &bytes[..usize::from(*len)],
            Text::Long { start, len } => &text[*start as usize..][..*len as usize],
        }
    }
}
