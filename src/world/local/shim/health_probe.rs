//! The health check of one start of a program, run by its supervisor. Uses only std, blocking.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::child::tie_to_supervisor;
use super::state::SupervisorState;
use crate::world::local::container::launch::find_program;
use crate::world::local::container::record::{Launch, ProbePlan};
use crate::world::local::process::{ProcessId, as_pid};

pub(crate) const STARTING: &str = "starting";
const HEALTHY: &str = "healthy";
const UNHEALTHY: &str = "unhealthy";
const POLL: Duration = Duration::from_millis(10);

struct Probe {
    plan: ProbePlan,
    child: ProcessId,
    shared: Arc<SupervisorState>,
    environment: BTreeMap<String, String>,
    working_dir: PathBuf,
}

/// Checks the program from another thread until it exits.
pub(crate) fn begin(plan: ProbePlan, child: ProcessId, shared: Arc<SupervisorState>, launch: &Launch) {
    let probe =
        Probe { plan, child, shared, environment: launch.environment.clone(), working_dir: launch.working_dir.clone() };
    thread::spawn(move || probe.watch());
}

impl Probe {
    fn watch(&self) {
        let grace = Instant::now() + self.plan.start_period.0;
        let mut failures = 0;
        let mut was_healthy = false;
        while self.sleep(self.plan.interval.0) {
            let health = if self.succeeds() {
                failures = 0;
                was_healthy = true;
                HEALTHY
            } else if !was_healthy && Instant::now() < grace {
                continue;
            } else {
                failures += 1;
                if failures < self.plan.retries {
                    continue;
                }
                UNHEALTHY
            };
            if !self.shared.runs(&self.child) {
                return;
            }
            self.shared.change(|state| {
                if state.child.as_ref() == Some(&self.child) {
                    state.health = Some(health.into());
                }
            });
        }
    }

    /// Returns false if the program exited.
    fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if !self.shared.runs(&self.child) {
                return false;
            }
            thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
        }
        self.shared.runs(&self.child)
    }

    fn succeeds(&self) -> bool {
        let Some((name, args)) = self.plan.command.split_first() else { return false };
        let path = self.environment.get("PATH").map_or("", String::as_str);
        let Ok(program) = find_program(name, path, &self.working_dir) else { return false };
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.working_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        tie_to_supervisor(&mut command);
        command.spawn().is_ok_and(|child| self.exits_successfully(child))
    }

    fn exits_successfully(&self, mut child: Child) -> bool {
        let until = Instant::now() + self.plan.timeout.0;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) if Instant::now() < until => thread::sleep(POLL),
                _ => {
                    let _ = killpg(as_pid(child.id()), Signal::SIGKILL);
                    let _ = child.wait();
                    return false;
                }
            }
        }
    }
}
