//! Why an effect failed, in a form that scripts can catch, the journal can store and people can read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::duration_text::DurationText;
use crate::base::vault::MissingSecret;

/// The hint for something that took longer than the option `timeout`.
pub(super) const RAISE_TIMEOUT: &str = "allow more time with the option `timeout`";

/// The kind of an error, which a script's `catch` can test: `e.kind == "port_taken"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The container, image, volume, file or revision does not exist.
    NotFound,
    /// A container or volume of that name already exists.
    NameTaken,
    /// Another process or container uses that port.
    PortTaken,
    /// The state of the object does not allow this: it is in use, or not running.
    Conflict,
    /// The request itself is invalid.
    Invalid,
    /// Access denied: credentials or file permissions.
    Refused,
    /// The other side did not answer or had a temporary fault; a retry may help.
    Unavailable,
    /// The deadline expired.
    Timeout,
    /// The run was cancelled while this was under way.
    Cancelled,
    /// A program, build, hook or HTTP request failed.
    Failed,
    /// It never became healthy.
    Unhealthy,
    /// The container exited during the wait.
    ContainerDied,
    /// The database is damaged.
    DatabaseCorrupt,
    /// A required program is not installed.
    MissingTool,
    /// A required secret is not set.
    MissingSecret,
    /// No space left on the device.
    DiskFull,
    /// Another run holds the lock.
    Locked,
    /// An interrupted run holds the lock and was neither resumed nor aborted.
    Unfinished,
    /// This world does not support it.
    Unsupported,
    /// The journal cannot be written, and nothing may be done without it.
    Journal,
    /// The script called `fail`.
    ScriptFailed,
    /// The run was interrupted before the outcome was known.
    Interrupted,
    /// The script requested something else than the journal recorded.
    Diverged,
    /// A bug in deployer.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Whether the failed effect may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Nothing was changed, for certain.
    No,
    /// It may have changed something, in whole or in part: its undo is kept.
    #[default]
    Unknown,
}

/// A failed effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectError {
    /// The kind, which scripts can test.
    pub kind: ErrorKind,
    /// What happened: one lowercase fragment with names in backticks and no full stop.
    pub message: String,
    /// What to do about it: the next command to type, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Evidence: the last log lines, or a program's error output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether something may have changed all the same.
    #[serde(default)]
    pub applied: Applied,
}

impl EffectError {
    /// Creates an error after which something may have changed.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, detail: None, applied: Applied::Unknown }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds evidence, unless it is blank.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        self.detail = (!detail.trim().is_empty()).then_some(detail);
        self
    }

    /// States that nothing was changed.
    #[must_use]
    pub fn not_applied(mut self) -> Self {
        self.applied = Applied::No;
        self
    }

    /// Creates an error for an invalid request: nothing was changed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message).not_applied()
    }

    /// Creates an error for something that does not exist: nothing was changed.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message).not_applied()
    }

    /// Creates an error for a state that does not allow the request: nothing was changed.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message).not_applied()
    }

    /// Creates an error for an engine without free disk space. It may have changed something.
    pub fn disk_full(what: &impl fmt::Display) -> Self {
        Self::new(ErrorKind::DiskFull, format!("{what}: no space left on the engine's disk"))
            .hint("see what uses the space: docker system df")
    }

    /// Creates an error for something that took longer than its timeout. It may have changed something.
    pub fn timed_out(what: &impl fmt::Display, timeout: DurationText) -> Self {
        Self::new(ErrorKind::Timeout, format!("{what} timed out after {timeout}"))
    }

    /// Creates an error for something that was cancelled with the run. It may have changed something.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled before it finished")
    }

    /// Creates an error for something that this world cannot do: nothing was changed.
    pub fn unsupported(what: impl fmt::Display, world: &str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{what} is not possible with `--engine {world}`")).not_applied()
    }
}

impl fmt::Display for EffectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EffectError {}

impl From<MissingSecret> for EffectError {
    fn from(MissingSecret(name): MissingSecret) -> Self {
        Self::new(ErrorKind::MissingSecret, format!("secret `{name}` is not set"))
            .hint(format!(
                "set the environment variable `{name}`, or `{name}_FILE` to the path of a file that contains it"
            ))
            .not_applied()
    }
}
