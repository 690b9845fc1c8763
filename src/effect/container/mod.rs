//! Containers: run, create, start, stop, kill, remove, rename, inspect, list, logs, exec, wait, stats.

mod create;
mod error;
mod exec;
mod inspect;
mod remove;
mod spec;
mod start_stop;
mod stats;
mod view;

pub use create::{CreateContainer, RunContainer};
pub use error::{
    container_cannot_start, container_has_no_stats, container_has_several_ports, container_is_running,
    container_name_taken, container_not_found, container_not_running, container_restarting, name_not_valid, port_taken,
    port_taken_by_container,
};
pub use exec::{Ended, ExecInContainer, WaitContainer};
pub use inspect::{DEFAULT_LOG_LINES, InspectContainer, ListContainers, Logs, ReadLogs};
pub use remove::{RemoveContainer, Removed, RenameContainer};
pub use spec::{ContainerSpec, Healthcheck, RestartPolicy};
pub use start_stop::{DEFAULT_STOP_GRACE, KillContainer, StartContainer, StopContainer, Stopped};
pub use stats::{ReadStats, Stats};
pub use view::{Container, ContainerState, PublishedPort};

use super::category::category;
use super::{Effect, Outcome};
use crate::base::container_ref::ContainerRef;

category! {
    /// Actions on containers.
    Container: ContainerEffect => ContainerOutcome {
        Run(RunContainer),
        Create(CreateContainer),
        Start(StartContainer),
        Stop(StopContainer),
        Kill(KillContainer),
        Remove(RemoveContainer),
        Rename(RenameContainer),
        Inspect(InspectContainer),
        List(ListContainers),
        Logs(ReadLogs),
        Exec(ExecInContainer),
        Wait(WaitContainer),
        Stats(ReadStats),
    }
}

/// Returns the read of a container that may not exist, for the state before a change and for evidence of one.
fn inspect(container: &ContainerRef) -> Effect {
    InspectContainer { container: container.clone(), missing_ok: true }.into()
}

/// Returns the container that [`inspect`] found.
fn inspected(outcome: Option<&Outcome>) -> Option<&Container> {
    match outcome {
        Some(Outcome::Container(ContainerOutcome::Inspect(container))) => container.as_ref(),
        _ => None,
    }
}
