//! All limits and timeouts of the proxy with their defaults.

use std::time::Duration;

/// The limits that can be set on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Client connections at a time; further ones wait in the queue of the socket.
    pub connections: usize,
    /// Size of a request body, in bytes.
    pub body_bytes: u64,
    /// Time for a request's head to arrive, and between two requests of a connection.
    pub head_timeout: Duration,
    /// Longest pause of a request body.
    pub idle_timeout: Duration,
    /// Time for the response of a target to begin, and longest pause of its body.
    pub answer_timeout: Duration,
    /// How long an upgraded stream may carry no byte in either direction.
    pub stream_idle_timeout: Duration,
    /// Time that requests get at shutdown before they are cut.
    pub drain: Duration,
    /// Time that upgraded streams get at shutdown before they are cut.
    pub drain_streams: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            body_bytes: 1024 * 1024 * 1024,
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(120),
            stream_idle_timeout: Duration::from_secs(3_600),
            drain: Duration::from_secs(30),
            drain_streams: Duration::from_secs(60),
        }
    }
}

/// Size of a request's head, in bytes.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Headers of a request, and of a target's response.
pub const HEADERS: usize = 256;
/// File descriptors that are kept for everything but client connections: listeners, control, log, idle connections.
pub const DESCRIPTOR_RESERVE: u64 = 256;
/// File descriptors that one client connection usually takes: its own, and the one to the target.
pub const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// How long a connection carries nothing before TCP asks whether the other side still exists.
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);
/// The time between two such questions.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The number of questions without an answer after which the connection is closed.
pub const KEEP_ALIVE_TRIES: u32 = 4;
/// Concurrent streams of one HTTP/2 connection.
pub const H2_STREAMS: u32 = 250;
/// Time to connect to a target.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for a TLS handshake or a protocol upgrade.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections to a target that each thread keeps.
pub const IDLE_MAX: usize = 64;
/// How long a connection to a target may be idle. Below the 5 s after which Node.js servers close one.
pub const IDLE_AGE: Duration = Duration::from_secs(4);
/// The same for a request that must not be sent twice, because a longer idle connection may already be closing.
pub const IDLE_AGE_UNSAFE: Duration = Duration::from_millis(500);
/// How many connections one request may try.
pub const TRIES: usize = 4;
/// How long idle client connections stay open at shutdown, so that none closes while a request is on its way.
pub const LINGER: Duration = Duration::from_secs(5);
/// Mirrored requests in flight of one service.
pub const MIRRORS: u64 = 64;
/// Total time of a mirrored request.
pub const MIRROR_TIMEOUT: Duration = Duration::from_secs(30);
/// Size of a command, in bytes.
pub const COMMAND_BYTES: usize = 1024 * 1024;
/// Connections to the control socket at a time.
pub const CONTROL_CONNECTIONS: usize = 256;
/// The time that statistics cover, in seconds.
pub const WINDOW: usize = 600;
