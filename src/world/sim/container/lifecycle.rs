//! What happens to containers as time passes: exits and the engine's restarts. Knows nothing of requests.
//!
//! Faults: too little memory, a crash loop, a restart that finds its port taken.

use crate::base::labels;
use crate::effect::container::{ContainerState, RestartPolicy};
use crate::world::sim::model::container::PendingExit;
use crate::world::sim::sim_host::SimHost;

/// The engine waits this long before the first restart of a container, and twice as long before each further one.
const FIRST_BACKOFF_MS: u64 = 100;
const MAX_BACKOFF_MS: u64 = 60_000;
/// A container that ran this long is restarted with the first backoff again.
const BACKOFF_RESET_MS: u64 = 10_000;
/// The exit code of a process killed by SIGKILL.
pub(crate) const KILLED: i64 = 137;
/// The exit code of a container whose restart failed.
const CANNOT_START: i64 = 128;

/// The next event of a container.
#[derive(Clone, Copy)]
enum Event {
    Death(PendingExit),
    Restart(u64),
}

impl SimHost {
    /// Performs all events that were due until now, in order.
    pub(crate) fn run_due_events(&mut self) {
        let now = self.now();
        while let Some((name, event)) = self.next_event(now) {
            match event {
                Event::Death(pending_exit) => self.record_exit(&name, pending_exit),
                Event::Restart(at) => {
                    if self.start_at(&name, at).is_err() {
                        self.record_exit(
                            &name,
                            PendingExit { at, exit_code: CANNOT_START, oom: false, by_itself: false },
                        );
                    }
                }
            }
        }
        self.probe_until(now);
    }

    fn next_event(&self, now: u64) -> Option<(String, Event)> {
        self.containers
            .all()
            .filter_map(|container| match (container.pending_exit, container.restart_at) {
                (Some(pending_exit), _) if pending_exit.at <= now => {
                    Some((pending_exit.at, container, Event::Death(pending_exit)))
                }
                (None, Some(at)) if at <= now => Some((at, container, Event::Restart(at))),
                _ => None,
            })
            .min_by_key(|(at, container, _)| (*at, container.number))
            .map(|(_, container, event)| (container.name().to_owned(), event))
    }

    /// Records the exit of a container and schedules its restart if its policy requires one.
    pub(crate) fn record_exit(&mut self, name: &str, pending_exit: PendingExit) {
        self.probe_until(pending_exit.at);
        if pending_exit.by_itself {
            self.apply_program_output(name);
        }
        let Some(container) = self.containers.get_mut(name) else { return };
        if pending_exit.by_itself {
            let exit_log = container.behaviour.exit_log.clone();
            container.write_log(&exit_log);
        }
        container.state = ContainerState::Exited;
        container.exit_code = Some(pending_exit.exit_code);
        container.oom_killed = pending_exit.oom;
        container.ports.clear();
        container.pending_exit = None;
        container.restart_at = None;
        if container.started_at.is_some_and(|started| pending_exit.at.saturating_sub(started) >= BACKOFF_RESET_MS) {
            container.restarts = 0;
        }
        let again = match container.spec.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { attempts } => {
                pending_exit.exit_code != 0 && (attempts == 0 || container.restarts < attempts)
            }
        };
        if pending_exit.by_itself && again {
            let pause = FIRST_BACKOFF_MS.saturating_mul(1 << container.restarts.min(16)).min(MAX_BACKOFF_MS);
            container.state = ContainerState::Restarting;
            container.restart_at = Some(pending_exit.at + pause);
            container.restarts += 1;
        }
    }

    /// Applies what a container's program writes to the databases in its volumes when it succeeds. A program that names
    /// a volume also changes the copies of it.
    fn apply_program_output(&mut self, name: &str) {
        let Some(container) = self.containers.get(name) else { return };
        let Some(program) = container.one_shot_program().filter(|program| program.exit_code == 0) else { return };
        let mounted: Vec<String> = container.spec.volumes.iter().map(|mount| mount.source.clone()).collect();
        for (location, sql) in program.sql {
            let Some((volume, path)) = location.split_once(':') else { continue };
            for source in &mounted {
                let of = self.volumes.0.get(source).and_then(|there| there.labels.get(labels::COPY_OF));
                if source == volume || of.is_some_and(|of| of == volume) {
                    // A statement that fails here has already failed in the dry run.
                    drop(self.run_sql(&format!("{source}:{path}"), &sql));
                }
            }
        }
    }
}
