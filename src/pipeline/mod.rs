//! The life of ONE request, top to bottom in [`handle`]. Floor 4.

pub mod gate;
pub mod handle;
pub mod own;
pub mod portal;
mod rate;
pub mod refusal;
pub mod respond;
mod seat;
pub mod session;
pub mod verify;
pub mod worker;

pub use gate::Gate;
pub use worker::Worker;
