//! The embedded proxy: the real program, with real sockets on loopback and targets in the test process.

mod attacks;
mod commands;
mod cutover;
mod data_plane;
mod fixture;
mod fuzz;
mod health;
mod hold_and_drain;
mod hostile;
mod restart;
mod state_file;
