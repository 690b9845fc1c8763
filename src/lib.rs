//! deployer
pub mod base;
pub mod effect;
pub mod gateway;
pub mod journal;
pub mod run;
pub mod script;
pub mod world;
