//! Which endpoint of an agency carries a request, and the connections to it. Floor 2.
//!
//! An [`AgencyLive`] is shared by all workers; each worker has its own [`pool::AgencyPools`]. What is known of an endpoint's
//! health is in its [`Vitals`]: read by every request, written only when it changes, by the control plane (`health`,
//! `resolve`) or by the worker whose request was one failure too many (`outlier`). [`Watch`] is what the control plane runs.

mod adaptive;
pub mod agency;
pub mod bulkhead;
mod check;
mod ewma;
pub mod health;
mod latency;
pub mod ledger;
mod moment;
pub mod outlier;
pub mod pick;
pub mod pool;
mod ramp;
pub mod resolve;
mod rest;
pub mod watch;

pub use agency::{AgencyLive, EndpointLive, Vitals};
pub use bulkhead::{Full, Opened, Slot};
pub use ledger::Spent;
pub use outlier::Outcome;
pub use pick::Picked;
pub use pool::{AgencyPools, EndpointPool, Lease, Pools};
pub use watch::Watch;
