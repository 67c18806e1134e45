//! Darvazeh (دروازه, "gateway"): the library behind the `darvazeh` program.
//!
//! The floors, top to bottom. A module imports only from lower floors and from the siblings named in `ARCHITECTURE.md`;
//! `tests/floors.rs` holds us to it.
//!
//! ```text
//! 6  cli  app                     commands; start-up as one story
//! 5  listen  admin                sockets in, bytes out
//! 4  pipeline                     the life of one request
//! 3  live                         the configuration in force
//! 2  route auth session login limit balance forward answer
//! 1  config intake observe tls fetch store http1 http2
//! 0  words digits fields apart message body closing chance secret private_file clock date
//! ```
#![forbid(unsafe_code)]

pub mod apart;
pub mod body;
pub mod chance;
pub mod clock;
pub mod closing;
pub mod date;
pub mod digits;
pub mod fields;
pub mod message;
pub mod private_file;
pub mod secret;
pub mod words;

pub mod config;
pub mod fetch;
pub mod http1;
pub mod http2;
pub mod intake;
pub mod observe;
pub mod store;
pub mod tls;

pub mod answer;
pub mod auth;
pub mod balance;
pub mod forward;
pub mod limit;
pub mod login;
pub mod route;
pub mod session;

pub mod live;

pub mod pipeline;

pub mod admin;
pub mod listen;

pub mod app;
pub mod cli;
