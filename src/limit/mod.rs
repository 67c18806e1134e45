//! How much is too much: the counted limits of routes and listeners. Floor 2.

pub mod rate;
