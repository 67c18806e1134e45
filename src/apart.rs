//! Waiting that few requests do, kept out of the way of all.

use std::future::Future;
use std::pin::Pin;

/// Boxes a future so that neither its state nor its code becomes a part of whatever awaits it. `Box::pin` alone keeps the state
/// apart; the code, of which the data path had twice as much as it runs, is then still put into that of the caller.
#[inline(never)]
pub fn apart<'f, T>(future: impl Future<Output = T> + 'f) -> Pin<Box<dyn Future<Output = T> + 'f>> {
    Box::pin(future)
}
