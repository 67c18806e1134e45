//! (to come)

pub mod cors;
