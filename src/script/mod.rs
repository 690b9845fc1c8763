//! Rhai: the engine, the parameters, the primitives and what is said about errors.
//! Asks the gateway for everything; knows no world, no journal and no file.
//!
//! Reading order: `primitive` (what one is), `family/` (all of them, with their documentation), `host` (what they talk
//! to), `functions` (how they find it), `control` (the words that are no effects), `params`, `program` (compile and
//! run), `modules` (what scripts import), `evaluator` (one input after the other), `check`, `diagnostic`,
//! `page` (what there is to say of each), `reference` (all of it as Markdown), `definitions` (for editors).

mod canary;
pub mod catalogue;
pub mod check;
mod compiled;
pub mod control;
pub mod definitions;
pub mod diagnostic;
pub mod engine;
pub mod evaluator;
pub mod family;
mod functions;
pub mod host;
mod modules;
pub mod page;
pub mod params;
pub mod primitive;
pub mod program;
pub mod reference;
pub mod reserved;
pub mod secret;
pub mod set_aside;
pub mod source;
pub mod stack;
pub mod value;
pub mod word;
pub mod wording;
