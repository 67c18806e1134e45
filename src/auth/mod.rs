//! Who asks, and how strongly. The only place that can make a [`Permit`]. Floor 2.
//!
//! ```text
//! admit ── credential   header and query -> a Bearer token
//!   ├───── cache        a token seen before -> what was proved of it
//!   ├───── token        text -> header and claims (json: every member once)
//!   ├───── keys         kid -> key: demand, refresh, kept   (jwk: JWK Set -> keys)
//!   └───── assurance    claims -> level; level, age and scopes against the route
//! walk                  the same checks one by one, for `explain`       suppose     a caller who is only supposed
//! session             what a session says of its caller, judged the same      statement   what an SSO signs for its client
//! permit                the proof that is handed on            assertion   what agencies are told
//! ```

pub mod admit;
pub mod assertion;
pub mod assurance;
pub mod cache;
pub mod credential;
mod demand;
mod json;
pub mod jwk;
mod kept;
pub mod keys;
pub mod permit;
mod refresh;
pub mod session;
pub mod statement;
pub mod suppose;
pub mod token;
pub mod walk;

pub use admit::{Denied, Requirement, admit};
pub use cache::TokenCache;
pub use keys::Issuer;
pub use permit::{Permit, Verified};
pub use session::admit_session;

#[cfg(test)]
mod testing;
