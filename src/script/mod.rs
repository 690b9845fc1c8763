//! Rhai: the engine, the parameters, the primitives and what is said about errors.
//! Asks the gateway for everything; knows no world, no journal and no file.
//!
//! Reading order: `primitive` (what one is), `family/` (all of them, with their documentation), `host` (what they talk
//! to), `control` (the words that are no effects), `params`, `program` (compile and run), `check`, `diagnostic`,
//! `reference` (all of it as Markdown).

mod canary;
pub mod catalogue;
pub mod check;
pub mod control;
pub mod diagnostic;
pub mod engine;
pub mod family;
pub mod host;
pub mod params;
pub mod primitive;
pub mod program;
pub mod reference;
pub mod reserved;
pub mod secret;
pub mod source;
pub mod stack;
pub mod value;
pub mod word;
pub mod wording;
