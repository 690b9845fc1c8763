//! TCP keep-alive: finds out that the other side is gone when neither side has anything to send.

use std::os::fd::AsFd;

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};

use super::limits::{KEEP_ALIVE_AFTER, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TRIES};

/// Turns it on. A system that refuses keeps the connection without it.
pub fn enable(socket: impl AsFd) {
    let socket = socket.as_fd();
    let _ = set_socket_keepalive(socket, true)
        .and_then(|()| set_tcp_keepidle(socket, KEEP_ALIVE_AFTER))
        .and_then(|()| set_tcp_keepintvl(socket, KEEP_ALIVE_INTERVAL))
        .and_then(|()| set_tcp_keepcnt(socket, KEEP_ALIVE_TRIES));
}
