//! The embedded proxy: the real program, real sockets on loopback, real targets in this process.

#[path = "support/deadline.rs"]
mod deadline;
#[path = "support/ports.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod ports;

#[path = "proxy/cutover.rs"]
mod cutover;
#[path = "proxy/data_plane.rs"]
mod data_plane;
#[path = "proxy/fuzz.rs"]
mod fuzz;
#[path = "proxy/health.rs"]
mod health;
#[path = "proxy/hold_and_drain.rs"]
mod hold_and_drain;
#[path = "proxy/hostile.rs"]
mod hostile;
#[path = "proxy/load.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod load;
#[path = "proxy/restart.rs"]
mod restart;
#[path = "proxy/rig.rs"]
mod rig;
#[path = "proxy/state_file.rs"]
mod state_file;
#[path = "proxy/steering.rs"]
mod steering;
#[path = "proxy/target.rs"]
mod target;
#[path = "proxy/visit.rs"]
mod visit;
