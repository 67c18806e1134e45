//! What one caller may take of what all share. Floor 2: each limit says what happens when it is reached, and answers nothing.

pub mod addresses;
pub mod body;
pub mod forgeries;
pub mod overload;
pub mod rate;
pub mod shared;
