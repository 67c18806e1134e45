//! The second listener: probes, metrics, and what runs now. Floor 5; on the control plane's runtime, so that it can be slow
//! without slowing a request. It must not be reachable by the public: it asks nobody who they are.

pub mod config_view;
pub mod control;
pub mod exposition;
pub mod reloads;
pub mod server;
pub mod upgrades;

pub use control::Control;
