//! The proof that a caller was admitted. Forwarding takes one; only `auth` makes one: `admit` for tokens, `session` for sessions.

use std::cell::OnceCell;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::words::{Level, PairwiseSubject};

/// What was proved about a token: computed once, kept in the cache, shared by every request that brings it.
///
/// In this order: where tokens take turns, each is fetched from far, and what most requests read of it lies in its first two
/// cache lines (as our allocator aligns what is as large). Both are asked for early: the one holds the count of who shares it,
/// the other the level.
#[repr(C)]
pub struct Verified {
    pub(super) pairwise: PairwiseMemo,
    pub level: Level,
    pub exp: UnixTime,
    /// What a rate by subject counts under: `iss` with `sub`, as a number that means nothing outside this process.
    pub subject_key: u64,
    pub auth_time: Option<UnixTime>,
    /// What a session adds; `None` for tokens.
    pub(super) released: Option<Box<Released>>,
    /// The issuer's `iss`.
    pub issuer: Arc<str>,
    /// `sub`. Personal: never logged, never sent to an agency as it is.
    pub subject: String,
    /// `azp`, else `client_id`.
    pub client: Option<String>,
    /// What a rate by client counts under: `iss` with `azp`, else `client_id`.
    pub client_key: Option<u64>,
    /// The exact claim value, when it was a string.
    pub acr: Option<String>,
    pub scopes: Vec<String>,
    pub(super) more_pairwise: MorePairwise,
}

/// With the two counts before it. Beyond are what few routes ask for.
const _: () = assert!(2 * size_of::<usize>() + std::mem::offset_of!(Verified, auth_time) <= 128);

/// What a session lets an agency know besides the assertion of level and subject.
pub(super) struct Released {
    pub claims: Option<Map<String, Value>>,
    pub access_token: Option<Secret<String>>,
}

impl Verified {
    /// Claims that agencies may be told, by configuration.
    pub fn released_claims(&self) -> Option<&Map<String, Value>> {
        self.released.as_ref()?.claims.as_ref()
    }

    /// The SSO's access token of a session, for agencies with `identity: token`.
    pub fn access_token(&self) -> Option<&Secret<String>> {
        self.released.as_ref()?.access_token.as_ref()
    }

    /// Whether a session stands for the caller, and no token that they brought.
    pub fn is_session(&self) -> bool {
        self.released.is_some()
    }
}

/// Shows nothing that a token said.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("level", &self.level).field("exp", &self.exp).finish_non_exhaustive()
    }
}

/// One key for all workers, drawn at start: equal subjects meet in one rate, and nobody can aim for a collision.
pub(super) fn rate_key(issuer: &str, name: &str) -> u64 {
    static KEYS: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);
    let mut hasher = KEYS.build_hasher();
    (issuer, name).hash(&mut hasher);
    std::hash::Hasher::finish(&hasher)
}

/// The pairwise subject of a token for the first agency it was forwarded to: most meet only one.
type PairwiseMemo = OnceCell<Remembered>;
/// For the next few. For what comes after the last place, the subject is computed anew.
type MorePairwise = OnceCell<Box<[PairwiseMemo; 3]>>;

pub(super) struct Remembered {
    /// Which pairwise secret it was made with.
    secret: u64,
    /// The agency's own name, so that its address tells it without a look at its text.
    agency: Arc<str>,
    subject: PairwiseSubject,
}

impl Verified {
    /// The subject for an agency; `secret`: which pairwise secret it is made with.
    pub(super) fn pairwise(
        &self,
        secret: u64,
        agency: &Arc<str>,
        make: impl FnOnce() -> PairwiseSubject,
    ) -> PairwiseSubject {
        let is_ours = |r: &&Remembered| r.secret == secret && r.agency == *agency;
        if let Some(found) = self.pairwise.get().filter(is_ours) {
            return found.subject;
        }
        let more = self.more_pairwise.get().map(|more| &more[..]).unwrap_or_default();
        if let Some(found) = more.iter().map_while(OnceCell::get).find(is_ours) {
            return found.subject;
        }
        let made = Remembered { secret, agency: agency.clone(), subject: make() };
        let subject = made.subject;
        if let Err(made) = self.pairwise.set(made)
            && let Some(free) = self.more_pairwise.get_or_init(Box::default).iter().find(|place| place.get().is_none())
        {
            let _ = free.set(made);
        }
        subject
    }
}

/// A caller who may pass on the route whose requirement was judged.
#[derive(Clone, Debug)]
pub struct Permit {
    token: Option<Rc<Verified>>,
}

impl Permit {
    /// For `auth` alone.
    pub(super) fn of(token: Option<Rc<Verified>>) -> Permit {
        Permit { token }
    }

    /// `None` on a level-0 route, where credentials are not looked at.
    pub fn token(&self) -> Option<&Rc<Verified>> {
        self.token.as_ref()
    }

    pub fn level(&self) -> Level {
        self.token.as_ref().map_or(Level::NONE, |t| t.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PV-4
    #[test]
    fn debug_output_shows_nothing_a_token_said() {
        let token = crate::auth::testing::verified("0012345678");
        let shown =
            format!("{:?} {:?}", token, Permit::of(Some(Rc::new(crate::auth::testing::verified("0012345678")))));
        assert!(!shown.contains("0012345678") && !shown.contains("portal") && !shown.contains("urn:"), "{shown}");
    }

    #[test]
    fn rates_are_kept_apart_by_issuer_and_name() {
        assert_eq!(rate_key("a", "b"), rate_key("a", "b"));
        assert_ne!(rate_key("a", "b"), rate_key("ab", ""));
        assert_ne!(rate_key("a", "b"), rate_key("b", "a"));
    }

    #[test]
    fn a_pairwise_subject_is_made_once_for_an_agency_and_a_secret() {
        let token = crate::auth::testing::verified("a");
        let of = |text| PairwiseSubject::new(text).unwrap();
        let tax = Arc::from("tax");
        let first = token.pairwise(1, &tax, || of("one"));
        assert_eq!(first, token.pairwise(1, &tax, || unreachable!("it is remembered")));
        let reloaded = Arc::from("tax");
        assert_eq!(first, token.pairwise(1, &reloaded, || unreachable!("the same name")));
        assert_eq!(token.pairwise(2, &tax, || of("two")), of("two"), "a new secret, a new subject");
        for agency in ["a", "b", "c", "d", "e", "f"] {
            assert_eq!(token.pairwise(1, &agency.into(), || of(agency)), of(agency), "also beyond the last place");
        }
    }
}
