//! HTTP/2 on both sides, by the `h2` crate driven directly: hyper's wrapper cannot send 103, nor tell the stages of a
//! failure apart. Floor 1: frames and flow control, no policy.
//!
//! `send` and `receive` are a stream's two directions, `piece` what of the first has not left yet, `duplex` both at once as bytes,
//! `server` the life of a caller's connection, `outlet` what lies below it (answers leave together there, and its end begins),
//! `client` one exchange with an agency.

pub mod client;
pub mod duplex;
mod outlet;
mod piece;
pub mod receive;
pub mod send;
pub mod server;
