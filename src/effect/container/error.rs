//! Errors about containers that every world can meet, written once. Hints name script functions and commands of
//! deployer, not of an engine, because these errors come from every engine.

use std::fmt;

use super::{ExecInContainer, KillContainer, WaitContainer};
use crate::effect::exec::{self, command_line};
use crate::effect::{EffectError, ErrorKind};

/// Returns the error for a name that an object of this kind cannot have; `what` is the kind, such as "volume".
pub fn name_not_valid(what: &str, name: &str) -> EffectError {
    EffectError::invalid(format!("`{name}` is not a valid {what} name"))
        .hint("use letters, digits, `_`, `.` and `-`; start with a letter or digit")
}

/// Returns the error for a container that does not exist.
pub fn container_not_found(container: &impl fmt::Display) -> EffectError {
    EffectError::not_found(format!("container `{container}` does not exist"))
        .hint("list the containers: `docker_list(#{all: true})`")
}

/// Returns the error for a container that must be running; `consequence` says what is impossible because it is not.
pub fn container_not_running(container: &impl fmt::Display, consequence: &str) -> EffectError {
    EffectError::conflict(format!("container `{container}` is not running, so {consequence}"))
        .hint(format!("start it: `docker_start(\"{container}\")`; if it exited, see why: deployer logs {container}"))
}

/// Returns the error for statistics of a container that is not running.
pub fn container_has_no_stats(name: &str) -> EffectError {
    container_not_running(&name, "there are no statistics")
}

/// Returns the error for a container that cannot be removed because it is running.
pub fn container_is_running(name: &str) -> EffectError {
    EffectError::conflict(format!("container `{name}` is running"))
        .hint(format!("stop it first: `docker_stop(\"{name}\")`, or remove it with `force: true`"))
}

/// Returns the error for a new name that another container has.
pub fn container_name_taken(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NameTaken, format!("a container named `{name}` already exists"))
        .hint(format!("choose another name, or remove that container: `docker_remove(\"{name}\")`"))
        .not_applied()
}

/// Returns the error for a container that restarts and therefore cannot be renamed. A moment later it can be.
pub fn container_restarting(name: &str) -> EffectError {
    EffectError::new(ErrorKind::Unavailable, format!("container `{name}` cannot be renamed while it restarts"))
        .hint(format!("see why it exits: deployer logs {name}"))
        .not_applied()
}

/// Returns the error for a container whose program cannot be started.
pub fn container_cannot_start(name: &str, why: &impl fmt::Display) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("container `{name}` cannot start: {why}"))
}

/// Returns the error for a container of which one port must be selected; `verb` says what it does with them, such as
/// "publishes".
pub fn container_has_several_ports(name: &str, verb: &str, ports: impl IntoIterator<Item = u16>) -> EffectError {
    let ports: Vec<String> = ports.into_iter().map(|port| port.to_string()).collect();
    EffectError::invalid(format!("container `{name}` {verb} several ports: {}", ports.join(", ")))
        .hint("select one with the option `port`")
}

/// Returns the error for a host port that is in use, by `holder` if it is known, such as "container `web`".
/// `consequence` says what is impossible therefore.
pub fn port_taken(port: u16, holder: Option<&str>, consequence: &str) -> EffectError {
    let by = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
    EffectError::new(ErrorKind::PortTaken, format!("port {port} is taken{by}, so {consequence}"))
        .hint(format!("choose another port, or find the process that listens on it: ss -ltnp 'sport = :{port}'"))
}

/// Returns the error for a port that a container publishes.
pub fn port_taken_by_container(port: u16, holder: &str, consequence: &str) -> EffectError {
    port_taken(port, Some(&format!("container `{holder}`")), consequence)
        .hint(format!("choose another port, or stop that container: `docker_stop(\"{holder}\")`"))
}

impl KillContainer {
    /// Returns the error for a container that cannot get a signal because it is not running.
    pub fn not_running(&self, name: &str) -> EffectError {
        container_not_running(&name, &format!("it cannot get {}", self.signal))
    }
}

impl WaitContainer {
    /// Returns the error for a container that did not exit in time.
    pub fn still_running(&self, name: &str) -> EffectError {
        EffectError::new(ErrorKind::Timeout, format!("container `{name}` is still running after {}", self.timeout))
            .hint(format!("read its log: deployer logs {name}"))
            .not_applied()
    }
}

impl ExecInContainer {
    /// Checks that there is a program to run.
    ///
    /// # Errors
    /// Fails if `command` is empty.
    pub fn validate(&self) -> Result<(), EffectError> {
        if self.command.is_empty() {
            return Err(EffectError::invalid("`command` is empty; it must name the program to run"));
        }
        Ok(())
    }

    /// Names the program and the container, for messages.
    pub fn label(&self, name: &str) -> String {
        format!("`{}` in container `{name}`", command_line(&self.command))
    }

    /// Returns the error for a container in which no program can run because it is not running.
    pub fn not_running(&self, name: &str) -> EffectError {
        container_not_running(&name, "no program can run in it")
    }

    /// Returns the error for a program that did not end in time.
    pub fn timed_out(&self, name: &str) -> EffectError {
        exec::program_timed_out(&self.label(name), self.timeout)
    }

    /// Returns the error for a program that was killed because the run was cancelled.
    pub fn cancelled(&self, name: &str) -> EffectError {
        EffectError::new(ErrorKind::Cancelled, format!("{} was cancelled", self.label(name)))
    }

    /// Returns the error for a program that failed.
    pub fn failed(&self, name: &str, exit_code: i64) -> EffectError {
        exec::program_failed(&self.label(name), exit_code)
    }
}
