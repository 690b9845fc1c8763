//! Traffic with real sockets and real programs: the embedded proxy, and the drivers of nginx, HAProxy and Caddy.

#[path = "../support/mod.rs"]
mod support;

mod drivers;
mod proxy;
