//! deployer
pub mod base;
pub mod effect;
pub mod world;
