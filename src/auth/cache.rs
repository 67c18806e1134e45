//! Verified tokens of one worker. Read and written without a lock: each worker has its own.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Counts that `/metrics` sums over workers (`token_cache_total{outcome}`).
#[derive(Debug, Default)]
pub struct CacheStats {
    pub hit: AtomicU64,
    pub miss: AtomicU64,
    /// Found, but past its `exp` or its key is gone.
    pub stale: AtomicU64,
}

pub struct TokenCache {
    _private: (),
}

impl TokenCache {
    /// `capacity`: tokens, at least 16.
    pub fn new(_capacity: usize, _stats: Arc<CacheStats>) -> TokenCache {
        todo!()
    }
}
