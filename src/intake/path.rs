//! The one canonical form in which a path is judged and forwarded (contract section 5, HP-5).

use std::borrow::Cow;

/// Why a path is refused. All are answered `path_ambiguous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous(pub &'static str);

/// Canonical form of a raw path (begins with `/`, no query). Borrowed when it already is canonical: the usual case costs
/// one pass and no allocation. Idempotent.
pub fn canonical(_raw: &[u8]) -> Result<Cow<'_, [u8]>, Ambiguous> {
    todo!()
}
