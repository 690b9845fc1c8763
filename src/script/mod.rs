//! The Rhai side: engine, parameters, primitives and diagnostics. Sends every effect to the gateway. Knows no world, no
//! journal store and no file.
//!
//! Reading order: `primitive` (what a primitive is), `category/` (all primitives with their documentation), `host` (what
//! they use), `functions` (how they find it), `control_function` and `control` (functions that perform no effect),
//! `params`, `program` (compile and run), `modules` (imports), `evaluator` (the inputs of a session), `check`,
//! `diagnostic`, `function_doc` (documentation as data), `reference` (as Markdown, JSON and help), `definitions` (for
//! editors).

mod canary;
pub mod catalogue;
pub mod category;
pub mod check;
mod compiled;
mod control;
pub mod control_function;
pub mod deferred_removal;
pub mod definitions;
pub mod diagnostic;
pub mod engine;
pub mod evaluator;
mod function_call;
pub mod function_doc;
mod functions;
pub mod host;
mod modules;
mod param_type;
pub mod params;
pub mod primitive;
pub mod program;
pub mod reference;
pub mod reserved;
mod rhai_error_text;
mod secret_functions;
mod secret_text;
pub mod source;
pub mod stack;
pub mod value;
