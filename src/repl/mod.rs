//! The session at a terminal, or of a pipe: one input after the other through the same door and into the same journal
//! as scripts. Knows scripts and runs; the world, files and signals are what `cli` hands in.
//!
//! Reading order: `tokens` (the language at a glance), `completion`, `command` (what begins with a colon), `table`,
//! `voice` (what is told while it happens), `session` (what an input does), `former` (what it did before
//! it was killed), `editor` (the terminal), `pipe`.

pub mod command;
pub mod completion;
pub mod editor;
pub mod former;
pub mod history;
pub mod interrupt;
pub mod names;
pub mod pipe;
pub mod saved;
pub mod session;
pub mod surroundings;
pub mod table;
pub mod tokens;
pub mod voice;
