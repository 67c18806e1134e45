//! The life of a session: it begins, is used, grows, and ends, by whoever ends it. What the login's steps, and each request
//! of a session's caller, do to it.
//!
//! An end is an end on every node that can know: streams are told (`watch`), workers forget (`revoked`), and the store has it
//! no more.

use super::cookies::SetCookies;
use super::id::{Id, Key};
use super::known::{Kept, Loaded};
use super::revoked::End;
use super::state::{MAX_CLAIMS, MAX_TEXT, Session};
use super::stats::Ended;
use super::store::Store;
use super::{NotBegun, Sessions, StoreAway, UNDER_WAY, Whose};
use crate::clock::UnixTime;
use crate::fields::Fields;

impl Sessions {
    /// A session begins, under a new id, and the one it takes the place of is dead at once (RP-8). For each login and each
    /// step-up. `begun`: when that was; what the SSO ended since then does not begin. `headers`: of the request, for stale
    /// cookies.
    pub async fn create(
        &self,
        session: Session,
        replaced: Option<&Loaded>,
        begun: UnixTime,
        headers: &Fields,
        now: UnixTime,
    ) -> Result<SetCookies, NotBegun> {
        let (id, session) = (Id::draw(), bounded(session));
        let cookies = match &self.common.store {
            Store::Memory(memory) => {
                if let Some(replaced) = replaced
                    && !self.over(replaced, Ended::Replaced, now).await?
                {
                    return Err(NotBegun::Over);
                }
                for (key, reason) in memory.insert(id.filed(), &session, &self.limits, self.per_subject) {
                    self.common.stats.ended(reason);
                    self.common.watches.announce(&key);
                }
                // Behind the insertion: an end that comes now finds it.
                if memory.ended.covers(&super::keys(id.filed(), &session), since(begun)) {
                    memory.remove(&id.filed());
                    return Err(NotBegun::Over);
                }
                self.jar.set(&id.text(), Some(headers)).unwrap_or_default()
            }
            Store::Sealed(sealed) => {
                let is_dead = |id: &Id, session: &Session, at| sealed.covers(&super::keys(id.filed(), session), at);
                if is_dead(&id, &session, since(begun))
                    || replaced.is_some_and(|old| is_dead(old.id(), old.session(), old.session().created))
                {
                    return Err(NotBegun::Over);
                }
                if let Some(replaced) = replaced {
                    self.over(replaced, Ended::Replaced, now).await?;
                }
                sealed.seal(&self.sealer, &self.jar, &id, &session, headers)
            }
            Store::Shared(shared) => {
                let bounds = (&self.limits, self.per_subject, since(begun), now);
                let old = replaced.map(Loaded::id);
                let crowd = shared.create(&self.sealer, &id, &session, old, bounds).await?;
                let crowd = crowd.ok_or(NotBegun::Over)?;
                (0..crowd).for_each(|_| self.common.stats.ended(Ended::PerSubject));
                if let Some(old) = old {
                    shared.revoked.tell(old.filed());
                    self.common.stats.ended(Ended::Replaced);
                    self.common.watches.announce(&old.filed());
                }
                self.jar.set(&id.text(), Some(headers)).unwrap_or_default()
            }
        };
        self.common.stats.created();
        Ok(cookies)
    }

    /// Keeps what changed in a session under the id it has: new tokens after a refresh. Not for levels, which come with a
    /// new id.
    pub async fn save(
        &self,
        loaded: &Loaded,
        session: Session,
        headers: &Fields,
        now: UnixTime,
    ) -> Result<SetCookies, StoreAway> {
        let session = bounded(session);
        match &self.common.store {
            Store::Memory(memory) => {
                if let Some(record) = memory.get(&loaded.id().filed()) {
                    memory.replace(&record, &session);
                }
                Ok(SetCookies::default())
            }
            Store::Sealed(sealed) => {
                sealed.remember(loaded.id(), &session, now);
                sealed.revoked.tell(loaded.id().filed());
                Ok(sealed.seal(&self.sealer, &self.jar, loaded.id(), &session, headers))
            }
            Store::Shared(shared) => {
                shared.save(&self.sealer, loaded.id(), &session).await?;
                Ok(SetCookies::default())
            }
        }
    }

    /// The session is used: its levels are idle from now on. Cheap to call with each request; what it returns, if
    /// anything, is to be set with the answer. Not called for what a page asks by itself, like the time that is left.
    pub fn touch(&self, loaded: &Loaded, headers: &Fields, now: UnixTime) -> Option<SetCookies> {
        match (&self.common.store, loaded.kept()) {
            (_, Kept::Here { record, .. }) => {
                record.touch(loaded.session(), &self.limits, now);
                None
            }
            (store, Kept::Copy { touched, is_renewed, .. }) => {
                let is_due = now >= touched.get().saturating_add(self.touch_every);
                if !is_due && !is_renewed {
                    return None;
                }
                touched.set(now);
                let mut session = loaded.session().clone();
                session.touch(&self.limits, now);
                match store {
                    Store::Memory(_) => None,
                    Store::Sealed(sealed) => Some(sealed.seal(&self.sealer, &self.jar, loaded.id(), &session, headers)),
                    Store::Shared(shared) => {
                        shared.touch(&self.sealer, loaded.id(), &session);
                        None
                    }
                }
            }
        }
    }

    /// The session ends here and now; its streams too, after their grace. The cookies to set clear the browser's.
    pub async fn end(
        &self,
        loaded: &Loaded,
        reason: Ended,
        headers: &Fields,
        now: UnixTime,
    ) -> Result<SetCookies, StoreAway> {
        self.over(loaded, reason, now).await?;
        Ok(self.jar.clear(headers))
    }

    /// The SSO ends sessions: those of a `sid` (one on every portal), or all of a `sub`. How many there were, as far as is
    /// known (BL-9, BL-11).
    pub async fn end_by(&self, issuer: &str, whose: Whose<'_>, now: UnixTime) -> Result<usize, StoreAway> {
        let key = match whose {
            Whose::Sid(sid) | Whose::Named(sid) => Key::sid(issuer, sid),
            Whose::Sub(sub) => Key::subject(issuer, sub),
        };
        let is_proved = !matches!(whose, Whose::Named(_));
        if let Store::Memory(memory) = &self.common.store
            && is_proved
        {
            memory.ended.add(End { key, before: now, until: now.saturating_add(UNDER_WAY) }, now);
        }
        let ended = match (&self.common.store, whose) {
            (Store::Memory(memory), Whose::Sid(_) | Whose::Named(_)) => self.tell_all(memory.remove_sid(&key)),
            (Store::Memory(memory), Whose::Sub(_)) => self.tell_all(memory.remove_subject(&key)),
            (Store::Sealed(sealed), _) => {
                let end = End { key, before: now, until: self.limits.longest(now) };
                if is_proved {
                    sealed.revoke(end, now)
                } else {
                    sealed.revoke_as_named(end, now)
                }
                0
            }
            (Store::Shared(shared), _) => {
                let known_for = if is_proved { UNDER_WAY } else { 0 };
                shared.end_all(&self.sealer, &key, known_for, now).await?
            }
        };
        (0..ended).for_each(|_| self.common.stats.ended(Ended::BySso));
        self.common.watches.announce(&key);
        Ok(ended)
    }

    fn tell_all(&self, ended: Vec<Key>) -> usize {
        ended.iter().for_each(|key| self.common.watches.announce(key));
        ended.len()
    }

    /// Whether it was there, as far as is known.
    async fn over(&self, loaded: &Loaded, reason: Ended, now: UnixTime) -> Result<bool, StoreAway> {
        let key = loaded.id().filed();
        let was_there = match &self.common.store {
            Store::Memory(memory) => memory.remove(&key),
            Store::Sealed(sealed) => {
                let until = loaded.session().absolute_end(&self.limits);
                sealed.revoke(End { key, before: UnixTime::MAX, until }, now);
                true
            }
            Store::Shared(shared) => shared.end(loaded.id()).await?,
        };
        if was_there {
            self.common.stats.ended(reason);
        }
        self.common.watches.announce(&key);
        Ok(was_there)
    }

    /// No level stands. A store elsewhere lets it go by itself.
    pub(super) fn expire(&self, id: &Id) {
        if let Store::Memory(memory) = &self.common.store
            && memory.remove(&id.filed())
        {
            self.common.stats.ended(Ended::Expired);
            self.common.watches.announce(&id.filed());
        }
    }
}

/// In the second of an end nobody can tell what came first: then a login begins.
fn since(begun: UnixTime) -> UnixTime {
    begun.saturating_add(1)
}

/// Without what is larger than a session may be. What an SSO sends is bounded before; this holds for every caller.
fn bounded(mut session: Session) -> Session {
    let is_long = |text: &mut String| text.len() > MAX_TEXT;
    session.sid.take_if(is_long);
    session.name.take_if(is_long);
    if serde_json::to_vec(&session.claims).map_or(usize::MAX, |json| json.len()) > MAX_CLAIMS {
        session.claims.clear();
    }
    session
}
