//! An issuer's keys: fetched in the background, kept while the SSO is away, shared by all routes.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::config::model;

/// One issuer as it runs.
#[derive(Debug)]
pub struct Issuer {
    pub model: Arc<model::Issuer>,
}

/// How an issuer's keys came and went; counters for `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    Ok,
    Failed,
}

impl Issuer {
    /// Loads keys from file or `state_dir`, and starts the background refresh on `control`.
    pub fn start(_model: Arc<model::Issuer>, _state_dir: &Path, _control: &Handle, _clock: &Clock) -> Arc<Issuer> {
        todo!()
    }

    /// True once usable keys were ever obtained (`/readyz`).
    pub fn has_keys(&self) -> bool {
        todo!()
    }
}
