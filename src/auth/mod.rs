//! Who asks, and how strongly. The only place that can make a [`Permit`]. Floor 2.

pub mod admit;
pub mod assertion;
pub mod assurance;
pub mod cache;
pub mod credential;
pub mod keys;
pub mod permit;
pub mod token;

pub use admit::{Denied, Requirement, admit};
pub use cache::TokenCache;
pub use keys::Issuer;
pub use permit::{Permit, Verified};
