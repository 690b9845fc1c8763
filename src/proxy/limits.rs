//! Every bound of the proxy, with its default, in one place.

use std::time::Duration;

/// What a person may set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of visitors at a time; more wait in the queue of the socket.
    pub connections: usize,
    /// Of a request's body, in bytes.
    pub body_bytes: u64,
    /// Until a request's head has come, and between two requests.
    pub head_timeout: Duration,
    /// Without a byte of a body, on either side.
    pub idle_timeout: Duration,
    /// Until the target's answer begins.
    pub answer_timeout: Duration,
    /// When the process ends: until requests are cut.
    pub drain: Duration,
    /// When the process ends: until upgraded streams are cut.
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
            drain: Duration::from_secs(30),
            drain_streams: Duration::from_secs(60),
        }
    }
}

/// Of a request's head, in bytes.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Streams of one HTTP/2 connection.
pub const H2_STREAMS: u32 = 250;
/// Until a connection to a target is open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Until TLS is agreed on.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections to a target that each thread keeps.
pub const IDLE_MAX: usize = 64;
/// Below the 5 s after which Node's servers, the most impatient ones, close an idle connection.
pub const IDLE_AGE: Duration = Duration::from_secs(4);
/// A request that must not be sent twice takes no connection that was idle for longer: it may be closing.
pub const IDLE_AGE_UNSAFE: Duration = Duration::from_millis(500);
/// Connections that a request tries.
pub const TRIES: usize = 4;
/// When the process ends, idle visitors' connections stay that long, so that none closes under a request.
pub const LINGER: Duration = Duration::from_secs(5);
/// Copies of requests that are under way at a time, of one service.
pub const MIRRORS: u64 = 64;
/// Of a copied request altogether.
pub const MIRROR_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a command's text.
pub const COMMAND_BYTES: usize = 1024 * 1024;
/// Connections to the control socket at a time.
pub const CONTROLLERS: usize = 256;
/// That statistics look back.
pub const WINDOW: usize = 600;
