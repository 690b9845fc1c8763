//! Interactive use: help and reference, the shell, first steps and daily commands.

mod customised;
mod first_steps;
mod killed;
mod packaging;
mod pipe;
mod reference;
mod screen;
mod session;
