//! The life of ONE request, top to bottom in [`handle`]. Floor 4.

pub mod handle;
pub mod refusal;
pub mod respond;
