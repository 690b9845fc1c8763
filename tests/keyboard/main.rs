//! What a person at the keyboard uses: help and reference, the session, first steps and daily verbs.

#[path = "../docs/current.rs"]
mod current;
#[path = "../support/mod.rs"]
mod support;

mod customised;
mod first_steps;
mod killed;
mod packaging;
mod pipe;
mod reference;
mod screen;
mod session;
