//! One exchange with an agency: what it is sent, over which connection, and what comes back. Floor 2; may use `balance` and
//! `auth`, whose [`Permit`](crate::auth::Permit) it takes: what was not admitted cannot be forwarded.

pub mod connect;
pub mod deadline;
pub mod deliver;
pub mod exchange;
pub mod failure;
pub mod headers;
mod hedge;
pub mod prepare;
pub mod present;
pub mod upgrade;

pub use deliver::{Reply, deliver};
pub use failure::Failure;
pub use prepare::{Prepared, Way};
