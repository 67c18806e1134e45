//! Which endpoint of an agency carries a request, and the connections to it. Floor 2.
//!
//! An [`AgencyLive`] is shared by all workers and never written; each worker has its own [`pool::AgencyPools`].

pub mod agency;
pub mod pick;
pub mod pool;

pub use agency::{AgencyLive, EndpointLive};
pub use pool::{AgencyPools, EndpointPool, Lease, Pools};
