//! The drivers of routes against the real programs, asked through the services as every world asks them: nginx, HAProxy
//! and Caddy on loopback, with the configuration of `examples/`.

#[path = "../support/deadline.rs"]
mod deadline;
#[path = "../support/ports.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod ports;
#[path = "../support/twin_engine.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod twin_engine;

#[path = "../proxy/load.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod load;
#[path = "../proxy/target.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod target;
#[path = "../proxy/visit.rs"]
#[allow(dead_code, reason = "every test file uses a part of it")]
mod visit;

mod caddy;
mod every_driver;
mod haproxy;
mod nginx;
#[allow(dead_code, reason = "shared with the tests on Docker and the benchmark")]
mod program;
mod replace;
mod rig;
