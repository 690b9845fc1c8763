//! The commands of the control socket and their replies, each one JSON value. Plain data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::duration_text::DurationText;
use crate::effect::traffic::{Drained, Mirror, Released, Route, RouteView, Targets, TrafficStats};

/// A command. Those that change a service carry an epoch, and an epoch older than the last one is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Declares a service or changes its route. Without `step` the targets stay.
    RouteSet {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The route.
        route: Route,
        /// The targets and weights.
        #[serde(default)]
        step: Option<Targets>,
    },
    /// Removes a service. Its epoch is kept.
    RouteRemove {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The service.
        service: String,
    },
    /// Begins a step with other targets or weights.
    TargetsSet {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The service.
        service: String,
        /// The targets and weights.
        step: Targets,
    },
    /// Sends all requests to this target. The others stay as standby targets.
    Switch {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The service.
        service: String,
        /// The name of the target.
        target: String,
    },
    /// Sends no new requests to this target, waits for those in flight, and cuts them at the deadline.
    Drain {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The service.
        service: String,
        /// The name of the target.
        target: String,
        /// Default 30 s.
        #[serde(default = "default_drain")]
        deadline: DurationText,
        /// The deadline of upgraded streams (WebSocket). Default: the same.
        #[serde(default)]
        streams_deadline: Option<DurationText>,
    },
    /// Makes new requests wait.
    Hold {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The service.
        service: String,
        /// How many may wait; further ones get a 503. Default 1000.
        #[serde(default = "default_held")]
        max_requests: u64,
        /// When the hold ends by itself: waiting requests get a 503, new ones are forwarded. Default 30 s.
        #[serde(default = "default_hold")]
        max_wait: DurationText,
        /// After `max_wait`, new requests get a 503 until the release. Default false.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        until_released: bool,
    },
    /// Ends a hold: waiting requests are forwarded.
    Release {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The service.
        service: String,
    },
    /// Copies safe requests to another target, or stops copying.
    Mirror {
        /// The epoch of the run that sends the command.
        epoch: u64,
        /// The service.
        service: String,
        /// The target of the copies; `None` stops copying.
        #[serde(default)]
        mirror: Option<Mirror>,
    },
    /// Returns the statistics of the targets in the last `window` (default 60 s, at most 10 min).
    Stats {
        /// The service.
        service: String,
        /// The time that the statistics cover.
        #[serde(default = "default_window")]
        window: DurationText,
    },
    /// Returns all routes.
    Show,
    /// Returns the status of the proxy itself.
    Status,
    /// Replaces this process by a new one.
    Upgrade {
        /// Default: the running program's path.
        #[serde(default)]
        binary: Option<PathBuf>,
    },
    /// Reads the certificates again.
    ReloadTls,
}

fn default_drain() -> DurationText {
    DurationText::secs(30)
}

fn default_held() -> u64 {
    1_000
}

/// Returns how long requests are held by default.
pub fn default_hold() -> DurationText {
    DurationText::secs(30)
}

fn default_window() -> DurationText {
    DurationText::secs(60)
}

impl Command {
    /// Returns the service that the command changes, and its epoch. `None`: it changes no service.
    pub fn fence(&self) -> Option<(&str, u64)> {
        match self {
            Self::RouteSet { epoch, route, .. } => Some((&route.service, *epoch)),
            Self::RouteRemove { epoch, service }
            | Self::TargetsSet { epoch, service, .. }
            | Self::Switch { epoch, service, .. }
            | Self::Drain { epoch, service, .. }
            | Self::Hold { epoch, service, .. }
            | Self::Release { epoch, service }
            | Self::Mirror { epoch, service, .. } => Some((service, *epoch)),
            Self::Stats { .. } | Self::Show | Self::Status | Self::Upgrade { .. } | Self::ReloadTls => None,
        }
    }
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandResponse {
    /// The command succeeded.
    Ok(CommandReply),
    /// The command was refused and changed nothing.
    Refused(Refusal),
}

impl From<Result<CommandReply, Refusal>> for CommandResponse {
    fn from(result: Result<CommandReply, Refusal>) -> Self {
        match result {
            Ok(reply) => Self::Ok(reply),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

/// The reply to a successful command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandReply {
    /// The route after the command.
    Route(Box<RouteView>),
    /// The route was removed.
    Removed,
    /// The result of a drain.
    Drained(Drained),
    /// The result of ending a hold.
    Released(Released),
    /// Statistics of a service.
    Stats(TrafficStats),
    /// All routes.
    Routes(Vec<RouteView>),
    /// The status of the proxy.
    Status(Box<ProxyStatus>),
    /// The process that has taken over.
    Upgraded {
        /// Its process id.
        pid: u32,
    },
    /// The certificates were read again.
    Reloaded {
        /// How many there are.
        certificates: usize,
    },
}

/// The status of the proxy process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// The version of the program.
    pub version: String,
    /// The process id.
    pub pid: u32,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The addresses that it listens on.
    pub addresses: Vec<String>,
    /// The number of routes.
    pub routes: usize,
    /// The number of open client connections.
    pub connections: u64,
    /// Problems, such as a state restored from the previous copy, or a certificate that cannot be read.
    pub warnings: Vec<String>,
}

/// The reply to a refused command, which has changed nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason for programs.
    pub kind: RefusalKind,
    /// The reason as text.
    pub message: String,
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// A newer run controls this service.
    Fenced,
    /// There is no such service or target.
    NotFound,
    /// The command is invalid.
    Invalid,
    /// The command contradicts the current state.
    Conflict,
    /// Another process is taking over: try again.
    HandedOver,
    /// The proxy could not perform the command.
    Failed,
}

impl Refusal {
    /// Creates a refusal.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Creates a refusal of an invalid command.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, message)
    }

    /// Creates a refusal of a command that contradicts the current state.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Conflict, message)
    }

    /// Creates a refusal for a missing service or target.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    /// Creates a refusal of a command that failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Failed, message)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
