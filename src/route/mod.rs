//! Which route a request meets. Compiled at load, read without a lock. Floor 2.

pub mod table;

pub use table::{Found, Table};
