//! Where two patterns cross: requests that a route takes from others which are less specific at first and more further on.
//!
//! A route answers for `/a/{x}/c` until one for `/a/b` comes and takes `/a/b/c`: neither's own example shows it. This keeps
//! all patterns of both files in one tree and finds such requests. Knows nothing of what a route requires; `takeover` asks
//! the compiled tables.

use ahash::AHashMap;

use crate::config::model::{HostPattern, PathPattern, Route, Segment};

/// Stands for any segment, or any label of a host, that no pattern names: such a byte never occurs in one.
pub const ANYTHING: &str = "\u{1}";

/// All patterns, by host and then by segment.
#[derive(Default)]
pub struct Patterns<'c> {
    roots: AHashMap<Option<&'c HostPattern>, usize>,
    nodes: Vec<Node<'c>>,
}

#[derive(Default)]
struct Node<'c> {
    literals: AHashMap<&'c str, usize>,
    any: Option<usize>,
    /// A whole path ends here.
    exact: bool,
    /// A prefix ends here.
    prefix: bool,
}

/// More nodes would have to be visited than is worth waiting for.
pub struct TooMany;

impl<'c> Patterns<'c> {
    pub fn add(&mut self, route: &'c Route) {
        if route.hosts.is_empty() {
            self.add_path(None, &route.path);
        }
        route.hosts.iter().for_each(|host| self.add_path(Some(host), &route.path));
    }

    fn add_path(&mut self, host: Option<&'c HostPattern>, path: &'c PathPattern) {
        let nodes = &mut self.nodes;
        let root = *self.roots.entry(host).or_insert_with(|| grow(nodes));
        let end = segments(path).iter().fold(root, |at, segment| self.child(at, segment));
        match path {
            PathPattern::Exact(_) => self.nodes[end].exact = true,
            PathPattern::Prefix(_) => self.nodes[end].prefix = true,
        }
    }

    fn child(&mut self, at: usize, segment: &'c Segment) -> usize {
        let known = match segment {
            Segment::Literal(text) => self.nodes[at].literals.get(text.as_str()).copied(),
            Segment::Any(_) => self.nodes[at].any,
        };
        known.unwrap_or_else(|| {
            let child = grow(&mut self.nodes);
            match segment {
                Segment::Literal(text) => _ = self.nodes[at].literals.insert(text, child),
                Segment::Any(_) => self.nodes[at].any = Some(child),
            }
            child
        })
    }

    /// Calls `found` with the path of a request in every crossing of the pattern with less specific ones, and whether all
    /// that lies below that path is in the crossing as well. `budget`: nodes that may still be visited.
    pub fn crossings(
        &self,
        host: Option<&HostPattern>,
        path: &PathPattern,
        budget: &mut u64,
        found: &mut dyn FnMut(&str, bool),
    ) -> Result<(), TooMany> {
        let open = matches!(path, PathPattern::Prefix(_));
        let mut walk = Walk { nodes: &self.nodes, pattern: segments(path), open, path: String::new(), budget, found };
        for (root, ahead) in self.roots_under(host) {
            walk.step(root, 0, Lead { ahead, behind: false })?;
        }
        Ok(())
    }

    /// The roots whose hosts hold for `host` too, and whether `host` says more.
    fn roots_under(&self, host: Option<&HostPattern>) -> impl Iterator<Item = (usize, bool)> {
        let parent = match host {
            Some(HostPattern::Exact(name)) => name.split_once('.').map(|(_, rest)| rest.to_owned()),
            _ => None,
        };
        let wildcard = parent.map(HostPattern::Wildcard);
        let own = self.roots.get(&host).map(|root| (*root, false));
        let wildcard = wildcard.and_then(|host| self.roots.get(&Some(&host)).copied()).map(|root| (root, true));
        let any = host.and_then(|_| self.roots.get(&None)).map(|root| (*root, true));
        [own, wildcard, any].into_iter().flatten()
    }
}

fn grow(nodes: &mut Vec<Node<'_>>) -> usize {
    nodes.push(Node::default());
    nodes.len() - 1
}

fn segments(path: &PathPattern) -> &[Segment] {
    let (PathPattern::Exact(segments) | PathPattern::Prefix(segments)) = path;
    segments
}

/// How the pattern compares with the one whose node is visited. Only what is first ahead, and later behind, is a crossing
/// that neither pattern's own example shows.
#[derive(Clone, Copy)]
struct Lead {
    /// The pattern said more first.
    ahead: bool,
    /// After that, the other said more.
    behind: bool,
}

struct Walk<'w, 'c> {
    nodes: &'w [Node<'c>],
    pattern: &'w [Segment],
    open: bool,
    path: String,
    budget: &'w mut u64,
    found: &'w mut dyn FnMut(&str, bool),
}

impl Walk<'_, '_> {
    /// `depth` segments of the pattern led to `node`.
    fn step(&mut self, node: usize, depth: usize, lead: Lead) -> Result<(), TooMany> {
        *self.budget = self.budget.checked_sub(1).ok_or(TooMany)?;
        let here = &self.nodes[node];
        let Some(segment) = self.pattern.get(depth) else {
            return self.at_the_end(node, lead);
        };
        if here.prefix && lead.behind {
            self.emit_with_rest(depth);
        }
        match segment {
            Segment::Literal(text) => {
                if let Some(child) = here.literals.get(text.as_str()) {
                    self.down(text, *child, depth, lead)?;
                }
                if let Some(child) = here.any.filter(|_| !text.is_empty()) {
                    self.down(text, child, depth, Lead { ahead: true, ..lead })?;
                }
            }
            Segment::Any(_) => {
                if let Some(child) = here.any {
                    self.down(ANYTHING, child, depth, lead)?;
                }
                let literals = here.literals.iter().filter(|(text, _)| lead.ahead && !text.is_empty());
                for (text, child) in literals {
                    self.down(text, *child, depth, Lead { behind: true, ..lead })?;
                }
            }
        }
        Ok(())
    }

    fn down(&mut self, segment: &str, child: usize, depth: usize, lead: Lead) -> Result<(), TooMany> {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(segment);
        let walked = self.step(child, depth + 1, lead);
        self.path.truncate(length);
        walked
    }

    fn at_the_end(&mut self, node: usize, lead: Lead) -> Result<(), TooMany> {
        if self.open && lead.ahead {
            return self.below(node, lead.behind);
        }
        let here = &self.nodes[node];
        if lead.behind && (here.exact || here.prefix) {
            (self.found)(&self.path, false);
        }
        Ok(())
    }

    /// The pattern is a prefix that has ended: whatever lies below says more.
    fn below(&mut self, node: usize, behind: bool) -> Result<(), TooMany> {
        *self.budget = self.budget.checked_sub(1).ok_or(TooMany)?;
        let here = &self.nodes[node];
        if behind && (here.exact || here.prefix) {
            (self.found)(&self.path, here.prefix);
        }
        let any = here.any.map(|child| (ANYTHING, child));
        for (text, child) in here.literals.iter().map(|(text, child)| (*text, *child)).chain(any) {
            let length = self.path.len();
            self.path.push('/');
            self.path.push_str(text);
            let walked = self.below(child, true);
            self.path.truncate(length);
            walked?;
        }
        Ok(())
    }

    /// A prefix of the other's ended at `depth`; the rest of the pattern lies within it.
    fn emit_with_rest(&mut self, depth: usize) {
        let length = self.path.len();
        for segment in &self.pattern[depth..] {
            self.path.push('/');
            self.path.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::Any(_) => ANYTHING,
            });
        }
        (self.found)(&self.path, self.open);
        self.path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        let (text, open) = text.strip_suffix("/**").map_or((text, false), |rest| (rest, true));
        let parts = text.split('/').skip(1).map(|part| match part {
            "{}" => Segment::Any("x".to_owned()),
            _ => Segment::Literal(part.to_owned()),
        });
        let parts = parts.collect();
        if open { PathPattern::Prefix(parts) } else { PathPattern::Exact(parts) }
    }

    /// Crossings of the first pattern, on a host of its own, with the others; `*` for anything.
    fn crossings(own: &str, others: &[(Option<&str>, &str)]) -> Vec<String> {
        let host = HostPattern::Exact("a.example.ir".to_owned());
        let hosts: Vec<_> = others.iter().map(|(h, _)| h.map(|h| HostPattern::Exact(h.to_owned()))).collect();
        let paths: Vec<_> = others.iter().map(|(_, path)| pattern(path)).collect();
        let own = pattern(own);
        let mut all = Patterns::default();
        all.add_path(Some(&host), &own);
        for (host, path) in hosts.iter().zip(&paths) {
            all.add_path(host.as_ref(), path);
        }
        let mut found = Vec::new();
        let walked = all.crossings(Some(&host), &own, &mut 10_000, &mut |path, open| {
            found.push(path.replace(ANYTHING, "*") + if open { "/**" } else { "" });
        });
        assert!(walked.is_ok());
        found.sort();
        found
    }

    const HERE: Option<&str> = Some("a.example.ir");

    #[test]
    fn the_more_specific_pattern_of_a_crossing_shows_it() {
        assert_eq!(crossings("/a/b/{}", &[(HERE, "/a/{}/c")]), ["/a/b/c"]);
        assert_eq!(crossings("/a/b/**", &[(HERE, "/a/{}/c"), (HERE, "/a/{}/d/**")]), ["/a/b/c", "/a/b/d/**"]);
        assert_eq!(crossings("/a/{}/c", &[(HERE, "/a/b/{}")]), [""; 0], "it is behind from the start");
        assert_eq!(crossings("/a/b/{}/d", &[(HERE, "/a/{}/c/**")]), ["/a/b/c/d"]);
    }

    #[test]
    fn a_more_specific_host_takes_what_lies_below_its_prefix() {
        assert_eq!(crossings("/a/**", &[(None, "/a/b"), (None, "/c")]), ["/a/b"]);
        assert_eq!(crossings("/a/**", &[(Some("b.example.ir"), "/a/b")]), [""; 0]);
    }

    #[test]
    fn what_one_pattern_holds_wholly_is_no_crossing() {
        assert_eq!(crossings("/a/**", &[(HERE, "/a/b"), (HERE, "/**"), (HERE, "/a/{}")]), [""; 0]);
    }

    #[test]
    fn it_ends_when_there_is_too_much() {
        let path = pattern("/a/b");
        let mut all = Patterns::default();
        all.add_path(None, &path);
        assert!(all.crossings(None, &path, &mut 2, &mut |_, _| {}).is_err());
    }
}
