//! The fields of a head, in the order they came.
//!
//! Floor 0. A list, and not a map: a message has some ten of them, each is looked at once, and to find one among them by a
//! glance at each costs less than to hash it and to keep a table. How many there may be is bounded where they are read.
//! HTTP/2 and trailers, which `h2` and `http_body` have as maps, are turned at their borders.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Room in a map from the start. Trailers may have thousands of one name, which are less to a map than it bears.
const MAP: usize = 64;

/// Names and values. A name may stand more than once; what is said of one name is said of all of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(HeaderName, HeaderValue)>);

/// What a field is looked for by: its name, or text that is compared without case (RFC 9110 §5.1).
pub trait Name {
    fn is(&self, name: &HeaderName) -> bool;
}

impl Name for HeaderName {
    fn is(&self, name: &HeaderName) -> bool {
        self == name
    }
}

impl Name for str {
    fn is(&self, name: &HeaderName) -> bool {
        name == self
    }
}

impl<N: Name + ?Sized> Name for &N {
    fn is(&self, name: &HeaderName) -> bool {
        (**self).is(name)
    }
}

impl Fields {
    pub const fn new() -> Fields {
        Fields(Vec::new())
    }

    pub fn with_capacity(fields: usize) -> Fields {
        Fields(Vec::with_capacity(fields))
    }

    /// Field lines, those of one name each.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// A name as often as it stands there.
    pub fn keys(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The first value.
    pub fn get(&self, name: impl Name) -> Option<&HeaderValue> {
        self.0.iter().find(|(other, _)| name.is(other)).map(|(_, value)| value)
    }

    /// All values, in order.
    pub fn get_all(&self, name: impl Name) -> impl DoubleEndedIterator<Item = &HeaderValue> {
        self.0.iter().filter(move |(other, _)| name.is(other)).map(|(_, value)| value)
    }

    pub fn contains_key(&self, name: impl Name) -> bool {
        self.get(name).is_some()
    }

    /// Adds a value behind those that are there.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Sets a value in place of those that are there.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        match self.0.iter().position(|(other, _)| *other == name) {
            Some(at) => {
                self.0[at].1 = value;
                let mut is_first = true;
                self.0.retain(|(other, _)| *other != name || std::mem::take(&mut is_first));
            }
            None => self.0.push((name, value)),
        }
    }

    /// Takes all of a name out, and gives the first.
    pub fn remove(&mut self, name: impl Name) -> Option<HeaderValue> {
        let at = self.0.iter().position(|(other, _)| name.is(other))?;
        let (_, value) = self.0.remove(at);
        self.0.retain(|(other, _)| !name.is(other));
        Some(value)
    }

    /// Takes out what `stays` says no of.
    pub fn retain(&mut self, mut stays: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
        self.0.retain(|(name, value)| stays(name, value));
    }
}

/// Changes a map as a list: trailers.
pub fn in_map(map: &mut HeaderMap, change: impl FnOnce(&mut Fields)) {
    let mut fields = Fields::from(std::mem::take(map));
    change(&mut fields);
    *map = fields.into();
}

impl FromIterator<(HeaderName, HeaderValue)> for Fields {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Fields {
        Fields(fields.into_iter().collect())
    }
}

impl Extend<(HeaderName, HeaderValue)> for Fields {
    fn extend<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, fields: I) {
        self.0.extend(fields);
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Fields {
        let mut fields = Fields::with_capacity(map.len());
        let mut last = None;
        // A map names what stands more than once only the first time.
        for (name, value) in map {
            last = name.or(last);
            fields.0.extend(last.clone().map(|name| (name, value)));
        }
        fields
    }
}

impl From<Fields> for HeaderMap {
    fn from(fields: Fields) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(fields.0.len().min(MAP));
        for (name, value) in fields.0 {
            map.append(name, value);
        }
        map
    }
}

/// The first value, which must be there.
#[cfg(test)]
impl<N: Name> std::ops::Index<N> for Fields {
    type Output = HeaderValue;

    fn index(&self, name: N) -> &HeaderValue {
        self.get(name).expect("it has this field")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, COOKIE, HOST, VARY};

    fn fields(pairs: &[(&'static str, &'static str)]) -> Fields {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn text(fields: &Fields) -> Vec<(&str, &str)> {
        fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn what_is_said_of_a_name_is_said_of_all_of_that_name() {
        let all = fields(&[("vary", "a"), ("host", "h"), ("vary", "b"), ("x-a", "1"), ("vary", "c")]);
        assert_eq!(all.get(VARY).unwrap(), "a");
        assert_eq!(all.get_all("Vary").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(
            all.contains_key("X-A") && all.contains_key(&HOST) && !all.contains_key(ACCEPT) && all.get("var").is_none()
        );

        let mut set = all.clone();
        set.insert(VARY, HeaderValue::from_static("d"));
        assert_eq!(text(&set), [("vary", "d"), ("host", "h"), ("x-a", "1")]);
        set.insert(ACCEPT, HeaderValue::from_static("e"));
        assert_eq!(text(&set)[3], ("accept", "e"));

        let mut less = all.clone();
        assert_eq!(less.remove(VARY).unwrap(), "a");
        assert_eq!(text(&less), [("host", "h"), ("x-a", "1")]);
        assert_eq!(less.remove(COOKIE), None);
        less.retain(|name, _| *name != HOST);
        assert_eq!(text(&less), [("x-a", "1")]);
        let mut one_less = all.clone();
        one_less.retain(|_, value| value != "b");
        assert_eq!(text(&one_less), [("vary", "a"), ("host", "h"), ("x-a", "1"), ("vary", "c")]);
    }

    /// As many lines as a map has no room for names.
    #[test]
    fn thousands_of_one_name_are_no_more_than_a_map_bears() {
        let mut map = HeaderMap::new();
        for _ in 0..30_000 {
            map.append(VARY, HeaderValue::from_static("a"));
        }
        in_map(&mut map, |fields| assert_eq!(fields.len(), 30_000));
        assert_eq!(map.len(), 30_000);
    }

    #[test]
    fn a_map_holds_the_same() {
        let all = fields(&[("host", "h"), ("vary", "a"), ("vary", "b"), ("x-a", "1"), ("x-a", "2")]);
        let map = HeaderMap::from(all.clone());
        assert_eq!((map.len(), map.get_all(VARY).iter().count()), (5, 2));
        assert_eq!(Fields::from(map), all);
    }
}
