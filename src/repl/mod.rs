//! The interactive session, at a terminal or from a pipe. Its inputs use the same gateway and journal as scripts. Knows
//! scripts and runs; `cli` provides the world, files and signals.
//!
//! Reading order: `tokens` (lexing of incomplete inputs), `completion`, `command` (inputs that start with a colon),
//! `table`, `session_reporter` (output while an effect runs), `session` (evaluation of an input), `recovered_session`
//! (what a killed session did), `editor` (the terminal), `pipe`.

pub mod command;
pub mod completion;
pub mod editor;
pub mod engine_names;
pub mod history;
pub mod interrupt;
pub mod pipe;
pub mod recovered_session;
pub mod session;
pub mod session_context;
pub mod session_reporter;
pub mod session_script;
pub mod table;
pub mod tokens;
