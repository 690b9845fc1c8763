//! Why an effect failed, in a form that scripts catch, the journal keeps and people read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::vault::MissingSecret;

/// The kind that a script's `catch` can ask for: `e.kind == "port_taken"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The container, image, volume, file or revision does not exist.
    NotFound,
    /// A container or volume of that name is there already.
    NameTaken,
    /// Another process or container listens on that port.
    PortTaken,
    /// The thing is in a state that does not allow this (in use, not running).
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// Not permitted: credentials, file permissions.
    Refused,
    /// The other side does not answer or had a passing fault; trying again may help.
    Unavailable,
    /// The deadline passed.
    Timeout,
    /// The run was cancelled while this was under way.
    Cancelled,
    /// A program, build, hook or HTTP request ended with failure.
    Failed,
    /// It never became healthy.
    Unhealthy,
    /// The container died while somebody waited for it.
    ContainerDied,
    /// The database is damaged.
    DatabaseCorrupt,
    /// A program that is needed is not installed.
    MissingTool,
    /// A secret that is named is not set.
    MissingSecret,
    /// No room left on the device.
    DiskFull,
    /// Another run holds the lock.
    Locked,
    /// A killed run holds the lock and has not been resumed or aborted.
    Unfinished,
    /// This world cannot do it.
    Unsupported,
    /// The journal cannot be written: nothing may be done without it.
    Journal,
    /// The script called `fail`.
    ScriptFailed,
    /// The run was killed before the answer came.
    Interrupted,
    /// A replay asks for something else than the journal says.
    Diverged,
    /// A fault of deployer itself.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Whether the failed effect may have changed something all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Certainly nothing was changed.
    No,
    /// It may have been, wholly or in part: its undo stays on the stack.
    #[default]
    Unknown,
}

/// A failed effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectError {
    pub kind: ErrorKind,
    /// What happened: one sentence, lower case, names in backticks, no full stop.
    pub message: String,
    /// What to do about it: the next command to type, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Evidence: last log lines, a program's error output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default)]
    pub applied: Applied,
}

impl EffectError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, detail: None, applied: Applied::Unknown }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        self.detail = (!detail.trim().is_empty()).then_some(detail);
        self
    }

    /// States that certainly nothing was changed.
    pub fn not_applied(mut self) -> Self {
        self.applied = Applied::No;
        self
    }

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
            .hint(format!("set the environment variable `{name}`, or `{name}_FILE` to a file that holds it"))
            .not_applied()
    }
}
