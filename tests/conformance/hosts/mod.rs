//! The worlds that the suite runs on, one file each.

pub mod sim;
