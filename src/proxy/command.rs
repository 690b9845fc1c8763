//! What can be asked of a running proxy, and what it answers: one JSON value each. Plain data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::duration_text::DurationText;
use crate::effect::traffic::{Drained, Mirror, Released, Route, RouteView, Targets, TrafficStats};

/// A command. Whatever changes a service carries an epoch: an older one than the last is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Declares a service, or changes where it is reached; its targets stay when none are given.
    RouteSet {
        epoch: u64,
        route: Route,
        #[serde(default)]
        step: Option<Targets>,
    },
    /// Forgets a service; its epoch is kept.
    RouteRemove { epoch: u64, service: String },
    /// Begins a step: other targets, other weights.
    TargetsSet { epoch: u64, service: String, step: Targets },
    /// All requests go to this target from now on; the others stay warm.
    Switch { epoch: u64, service: String, target: String },
    /// No new requests to this target; waits for those that it has, and cuts them at the deadline.
    Drain {
        epoch: u64,
        service: String,
        target: String,
        /// Default 30 s.
        #[serde(default = "default_drain")]
        deadline: DurationText,
        /// Of upgraded streams (WebSocket). Default: the same.
        #[serde(default)]
        streams_deadline: Option<DurationText>,
    },
    /// New requests wait.
    Hold {
        epoch: u64,
        service: String,
        /// That many; the others are turned away with 503. Default 1000.
        #[serde(default = "default_held")]
        max_requests: u64,
        /// After that it ends by itself: those who wait get 503, new ones go on. Default 30 s.
        #[serde(default = "default_hold")]
        max_wait: DurationText,
    },
    /// Those who wait go on.
    Release { epoch: u64, service: String },
    /// Copies safe requests to another target, or stops doing so.
    Mirror {
        epoch: u64,
        service: String,
        #[serde(default)]
        mirror: Option<Mirror>,
    },
    /// What the targets did in the last `window` (default 60 s, at most 10 min).
    Stats {
        service: String,
        #[serde(default = "default_window")]
        window: DurationText,
    },
    /// All routes.
    Show,
    /// The proxy itself.
    Status,
    /// Hands everything over to a new process.
    Upgrade {
        /// Default: the program that runs now, from its path.
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

fn default_hold() -> DurationText {
    DurationText::secs(30)
}

fn default_window() -> DurationText {
    DurationText::secs(60)
}

impl Command {
    /// The service that it changes, and the epoch. `None`: it changes no service.
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

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Ok(Reply),
    Refused(Refusal),
}

impl From<Result<Reply, Refusal>> for Answer {
    fn from(result: Result<Reply, Refusal>) -> Self {
        match result {
            Ok(reply) => Self::Ok(reply),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The service as it is now, read back.
    Route(Box<RouteView>),
    Removed,
    Drained(Drained),
    Released(Released),
    Stats(TrafficStats),
    Routes(Vec<RouteView>),
    Status(Box<Status>),
    /// The process that took over.
    Upgraded {
        pid: u32,
    },
    Reloaded {
        certificates: usize,
    },
}

/// The proxy itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub uptime_ms: u64,
    /// Addresses that it listens on.
    pub addresses: Vec<String>,
    pub routes: usize,
    pub connections: u64,
    /// What is not as it should be: a state that had to be taken from the copy before, a certificate that cannot be read.
    pub warnings: Vec<String>,
}

/// A command that was not done; nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// A newer run commands this service.
    Fenced,
    NotFound,
    Invalid,
    Conflict,
    /// Another process takes over at this moment: ask again.
    HandedOver,
    Failed,
}

impl Refusal {
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Conflict, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Failed, message)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
