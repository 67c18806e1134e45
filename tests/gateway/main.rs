//! The gateway as its users meet it: the real binary, real sockets, real TLS. A module per behaviour; each test is a
//! short story, and names the standards point it stands for.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, reason = "some of it is for the tests beside these")]
#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod admin;
mod agencies_h2;
mod answers;
mod balance;
mod bulkheads;
mod canary;
mod client_gone;
mod config_faults;
mod connections;
mod cors;
mod credentials;
mod drain;
mod fields;
mod floods;
mod forgeries;
mod framing;
mod framing_h2;
mod hedging;
mod hostile_agencies;
mod identity;
mod keys;
mod levels;
mod limits;
mod listeners;
mod metrics;
mod paths;
mod rates;
mod rates_shared;
mod reload;
mod replay;
mod retries;
mod routing;
mod streaming;
mod stress;
mod timeouts;
mod tls;
mod tokens;
mod truncation;
mod upgrade;
mod verify;
mod verify_envoy;
