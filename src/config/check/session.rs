//! `sessions`: how callers who logged in are remembered.

use std::sync::Arc;

use super::Context;
use crate::config::defaults;
use crate::config::model::{SessionStore, Sessions};
use crate::config::read::Table;

pub fn sessions(_top: &Table<'_>, _cx: &mut Context<'_>) -> Sessions {
    Sessions {
        store: SessionStore::Memory { max: defaults::SESSIONS_MAX },
        keys: Vec::new(),
        cookie: Arc::from(defaults::SESSION_COOKIE),
        levels: defaults::SESSION_LEVELS,
        per_subject: defaults::SESSIONS_PER_SUBJECT,
        grace: defaults::SESSION_GRACE,
    }
}
