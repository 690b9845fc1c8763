//! The worlds that the suite runs on, one file each.

pub mod docker;
pub mod local;
mod machine;
pub mod sim;
