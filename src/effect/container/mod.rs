//! Containers: run, create, start, stop, kill, remove, rename, inspect, list, logs, exec, wait, stats.

mod exec;
mod look;
mod make;
mod put_away;
mod spec;
mod start_stop;
mod stats;
mod view;

pub use exec::{Ended, ExecInContainer, WaitContainer};
pub use look::{DEFAULT_LOG_LINES, InspectContainer, ListContainers, Logs, ReadLogs};
pub use make::{CreateContainer, RunContainer};
pub use put_away::{RemoveContainer, Removed, RenameContainer};
pub use spec::{ContainerSpec, Healthcheck, RestartPolicy};
pub use start_stop::{DEFAULT_STOP_GRACE, KillContainer, StartContainer, StopContainer, Stopped};
pub use stats::{ReadStats, Stats};
pub use view::{Container, ContainerState, PublishedPort};

use super::family::family;

family! {
    /// What can be asked of containers.
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
