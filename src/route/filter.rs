//! What a route asks of a request besides host and path: its method, and the listener it came in by.
//!
//! Many routes share few filters, so `table` keeps each once and refers to it by number.

use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::config::model::Route;

/// The methods that have a bit, in the order of `Allow`. CONNECT and TRACE have none: they fit no route, whatever a file
/// says (contract section 5).
const STANDARD: [Method; 7] =
    [Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS, Method::PATCH, Method::POST, Method::PUT];

#[derive(Debug)]
pub(super) struct Filter {
    methods: MethodSet,
    /// `None`: every listener.
    listeners: Option<Vec<Arc<str>>>,
}

impl Filter {
    pub fn of(route: &Route) -> Filter {
        Filter { methods: MethodSet::of(&route.methods), listeners: route.listeners.clone() }
    }

    pub fn fits_listener(&self, listener: &str) -> bool {
        self.listeners.as_ref().is_none_or(|names| names.iter().any(|name| **name == *listener))
    }

    pub fn fits_method(&self, method: Wanted<'_>) -> bool {
        self.methods.has(method)
    }

    pub fn methods(&self) -> &MethodSet {
        &self.methods
    }
}

/// A request's method, prepared once to be compared with many filters.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// 0 when the method is not of [`STANDARD`].
    bit: u8,
    other: Option<&'a Method>,
}

impl<'a> Wanted<'a> {
    pub fn new(method: &'a Method) -> Wanted<'a> {
        let bit = bit(method);
        let never = bit != 0 || *method == Method::CONNECT || *method == Method::TRACE;
        Wanted { bit, other: (!never).then_some(method) }
    }
}

#[derive(Debug)]
pub(super) struct MethodSet {
    /// Of [`STANDARD`], by place.
    standard: u8,
    /// Extension methods by name, sorted.
    others: Vec<Method>,
    /// Any extension method besides.
    any_other: bool,
}

impl MethodSet {
    pub const NONE: MethodSet = MethodSet { standard: 0, others: Vec::new(), any_other: false };

    /// The methods of a route's list, HEAD with GET. The empty list is every method.
    pub fn of(list: &[Method]) -> MethodSet {
        if list.is_empty() {
            return MethodSet { standard: (1 << STANDARD.len()) - 1, others: Vec::new(), any_other: true };
        }
        let mut set = MethodSet::NONE;
        for method in list {
            set.standard |= bit(method);
        }
        if set.standard & bit(&Method::GET) != 0 {
            set.standard |= bit(&Method::HEAD);
        }
        set.add_others(list.iter().filter(|method| Wanted::new(method).other.is_some()));
        set
    }

    pub fn has(&self, method: Wanted<'_>) -> bool {
        let standard = self.standard & method.bit != 0;
        standard || method.other.is_some_and(|other| self.any_other || self.others.contains(other))
    }

    pub fn add_all(&mut self, more: &MethodSet) {
        self.standard |= more.standard;
        self.any_other |= more.any_other;
        self.add_others(more.others.iter());
    }

    fn add_others<'a>(&mut self, more: impl Iterator<Item = &'a Method>) {
        self.others.extend(more.cloned());
        self.others.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        self.others.dedup();
    }

    /// The value of `Allow` (RFC 9110, section 10.2.1). "Any other" has no names to write.
    pub fn allow(&self) -> HeaderValue {
        let standard = STANDARD.iter().filter(|m| self.standard & bit(m) != 0);
        let names: Vec<_> = standard.chain(&self.others).map(Method::as_str).collect();
        HeaderValue::try_from(names.join(", ")).expect("methods are tokens (RFC 9110, section 9.1)")
    }
}

/// A method's bit in [`MethodSet::standard`].
fn bit(method: &Method) -> u8 {
    match *method {
        Method::DELETE => 1,
        Method::GET => 1 << 1,
        Method::HEAD => 1 << 2,
        Method::OPTIONS => 1 << 3,
        Method::PATCH => 1 << 4,
        Method::POST => 1 << 5,
        Method::PUT => 1 << 6,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(list: &[Method]) -> HeaderValue {
        MethodSet::of(list).allow()
    }

    #[test]
    fn every_standard_method_has_the_bit_of_its_place() {
        for (place, method) in STANDARD.iter().enumerate() {
            assert_eq!(bit(method), 1 << place);
        }
    }

    #[test]
    fn allow_is_sorted_and_get_brings_head() {
        let report = Method::from_bytes(b"REPORT").unwrap();
        assert_eq!(allow(&[report, Method::POST, Method::GET]), "GET, HEAD, POST, REPORT");
        assert_eq!(allow(&[Method::HEAD]), "HEAD");
        assert_eq!(allow(&[]), "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
        assert_eq!(allow(&[Method::TRACE]), "");
    }

    #[test]
    fn a_union_has_the_methods_of_both() {
        let mut union = MethodSet::NONE;
        for name in [&b"REPORT"[..], b"PUT", b"LOCK", b"REPORT"] {
            union.add_all(&MethodSet::of(&[Method::from_bytes(name).unwrap()]));
        }
        assert_eq!(union.allow(), "PUT, LOCK, REPORT");
    }
}
