//! A small world on loopback for black-box tests: the real binary in the middle, an SSO that can mis-sign on one side,
//! agencies that record raw bytes and misbehave on cue on the other, and clients that say exactly what they are told.
//!
//! Nothing here shares code with the gateway: tokens are signed, certificates made and answers parsed by other hands,
//! so that a mistake in the gateway cannot hide in its judge. Every wait is for an event, with [`PATIENCE`] as its end.

use std::future::Future;
use std::time::Duration;

pub mod agency;
pub mod certs;
pub mod client;
pub mod frames;
pub mod gateway;
pub mod h2c;
pub mod redis;
pub mod sso;
pub mod sso_server;
pub mod token;
pub mod verdict;
pub mod websocket;
pub mod wire;
pub mod world;

/// How long any event may take on a busy machine before a test gives up. Nothing ever waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits an event, and names it when it does not come.
pub async fn within<F: Future>(event: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {event}"),
    }
}
