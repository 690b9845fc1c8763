//! The traffic drivers against the real programs: nginx, HAProxy and Caddy on loopback, with the configuration of
//! `examples/`. The tests use the services, as every world does.

mod caddy;
mod every_driver;
mod fixture;
mod haproxy;
mod nginx;
mod replace;
