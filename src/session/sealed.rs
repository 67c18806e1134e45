//! Sessions that the browsers keep: sealed, in cookies. A million of them cost the node nothing.
//!
//! What the node keeps is bounded: which of them ended (`revoked`, and `ledger` for a fleet), and for a minute the newest state of those whose tokens
//! were refreshed, since requests that were under way still bring the older cookie with a refresh token that is used up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cookies::{Jar, SetCookies};
use super::id::{Id, Key};
use super::ledger::Ledger;
use super::pack::{pack, unpack};
use super::revoked::{End, MAX, Revoked};
use super::seal::Sealer;
use super::state::{Session, Tokens};
use crate::clock::UnixTime;
use crate::fields::Fields;

const PURPOSE: &[u8] = b"session";
/// Seconds that the newest state of a refreshed session is kept: as long as a slow request may be under way.
const RECENT: i64 = 60;
const RECENT_MAX: usize = 10_000;
/// Sessions that ended by a word without proof, some 1 MB.
const MAX_NAMED: usize = 10_000;

pub(super) struct Sealed {
    pub(super) revoked: Arc<Revoked>,
    /// What ended by a word that anybody may say. Apart: whoever says it a million times pushes no other end out.
    named: Arc<Revoked>,
    /// Tells other nodes, where they are configured to share.
    pub(super) ledger: Option<Ledger>,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    entries: HashMap<Key, (Box<[u8]>, UnixTime)>,
    order: VecDeque<(Key, UnixTime)>,
}

/// A session out of a cookie, and whether the cookie is older than the session.
pub(super) struct Opened {
    pub(super) id: Id,
    pub(super) session: Session,
    pub(super) is_renewed: bool,
}

impl Sealed {
    /// What ended stays so when the place changes where others are told: `before` is what had it until now.
    pub(super) fn new(
        before: Option<&Sealed>,
        tell: impl FnOnce(&Arc<Revoked>) -> Result<Option<Ledger>, String>,
    ) -> Result<Sealed, String> {
        let list = |kept: Option<&Arc<Revoked>>, max| kept.cloned().unwrap_or_else(|| Arc::new(Revoked::new(max)));
        let revoked = list(before.map(|before| &before.revoked), MAX);
        let named = list(before.map(|before| &before.named), MAX_NAMED);
        let ledger = tell(&revoked)?;
        Ok(Sealed { revoked, named, ledger, recent: Mutex::default() })
    }

    /// Whether a session with these keys is dead.
    pub(super) fn covers(&self, keys: &[Key], created: UnixTime) -> bool {
        self.revoked.covers(keys, created) || self.named.covers(keys, created)
    }

    /// How many are remembered, and how many had to be forgotten too early.
    pub(super) fn revocations(&self) -> (usize, u64) {
        (self.revoked.len() + self.named.len(), self.revoked.lost() + self.named.lost())
    }

    /// Whether this node can tell who is logged out.
    pub(super) fn can_tell(&self) -> bool {
        self.ledger.as_ref().is_none_or(Ledger::is_read)
    }

    /// For this node now, and for others as soon as they hear of it.
    pub(super) fn revoke(&self, end: End, now: UnixTime) {
        self.revoked.add(end, now);
        if let Some(ledger) = &self.ledger {
            ledger.tell(end);
        }
    }

    /// For this node alone.
    pub(super) fn revoke_as_named(&self, end: End, now: UnixTime) {
        self.named.add(end, now);
        self.revoked.tell(end.key);
    }

    pub(super) fn open(
        &self,
        sealer: &Sealer,
        jar: &Jar,
        first: &[u8],
        headers: &Fields,
        now: UnixTime,
    ) -> Option<Opened> {
        let sealed = match first.len() {
            super::cookies::CHUNK => {
                let rest = jar.rest(headers);
                URL_SAFE_NO_PAD.decode([&[first], rest.as_slice()].concat().concat())
            }
            _ => URL_SAFE_NO_PAD.decode(first),
        };
        let opened = sealer.open(PURPOSE, sealed.ok()?)?;
        let (id, packed) = opened.split_first_chunk::<16>()?;
        let id = Id::of(*id);
        let newest = self.renewed(&id.filed(), now);
        let is_renewed = newest.is_some();
        let session = newest.or_else(|| unpack(packed))?;
        let is_dead = self.covers(&super::keys(id.filed(), &session), session.created);
        (!is_dead).then_some(Opened { id, session, is_renewed })
    }

    /// The session as cookies. One that is too large goes without the tokens that it can do without.
    pub(super) fn seal(&self, sealer: &Sealer, jar: &Jar, id: &Id, session: &Session, headers: &Fields) -> SetCookies {
        let cookies = |session: &Session| {
            let value = [&id.bytes()[..], &pack(session)].concat();
            jar.set(&sealer.seal_text(PURPOSE, &value), Some(headers))
        };
        let without_hint = || Session { tokens: Tokens { id: None, ..session.tokens.clone() }, ..session.clone() };
        let bare = || Session { tokens: Tokens::default(), ..session.clone() };
        // Without tokens it always fits: everything else is bounded.
        cookies(session).or_else(|| cookies(&without_hint())).or_else(|| cookies(&bare())).unwrap_or_default()
    }

    /// Who brings an older cookie of this session is given this state, for a while.
    pub(super) fn remember(&self, id: &Id, session: &Session, now: UnixTime) {
        let key = id.filed();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.entries.insert(key, (pack(session).into_boxed_slice(), now + RECENT));
        recent.order.push_back((key, now + RECENT));
        while let Some((first, until)) = recent.order.front().copied() {
            if until > now && recent.order.len() <= RECENT_MAX {
                break;
            }
            recent.order.pop_front();
            if recent.entries.get(&first).is_some_and(|(_, newer)| *newer <= until) {
                recent.entries.remove(&first);
            }
        }
    }

    /// The session as it is since its tokens were refreshed, if that was just now.
    pub(super) fn renewed(&self, key: &Key, now: UnixTime) -> Option<Session> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = recent.entries.get(key).filter(|(_, until)| now < *until).map(|(packed, _)| packed.clone());
        drop(recent);
        unpack(&packed?)
    }
}
