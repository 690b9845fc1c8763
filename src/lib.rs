//! deployer
pub mod app;
pub mod base;
pub mod cli;
pub mod effect;
pub mod gateway;
pub mod journal;
pub mod report;
pub mod run;
pub mod script;
pub mod world;
