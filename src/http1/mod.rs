//! HTTP/1.1 on both sides, to the letter of RFC 9112. Floor 1: bytes and framing, no policy.
//!
//! Our own codec, because what a gateway must refuse is what a library helpfully repairs: `Content-Length` beside
//! `Transfer-Encoding`, repeated lengths, bare LF. It also costs less: head and small body leave in one write, an idle
//! connection holds no buffer, and one lazily armed timer serves all limits of a connection.
//!
//! `head` parses and writes heads, `chunked` the chunked coding, `transport` is the socket (plain or TLS), `server` the
//! life of a caller's connection, `client` one exchange with an agency. What a worker uses for one turn, and again for the
//! next, is in `lent` (bytes on their way out).

pub mod chunked;
pub mod client;
pub mod frames;
pub mod head;
pub mod lent;
pub mod lines;
pub mod server;
pub mod socket;
#[cfg(test)]
pub(crate) mod testing;
pub mod transport;
pub mod tunnel;
pub mod watchdog;
