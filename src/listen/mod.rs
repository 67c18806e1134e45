//! Sockets in, bytes out: accepting, TLS, and the worker threads. Floor 5.

pub mod accept;
pub mod handoff;
pub mod listener;
pub mod thread;

pub use listener::ListenerLive;
pub use thread::{Order, WorkerHandle, WorkerReport};
