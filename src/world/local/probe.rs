//! The health check of one run of a program, run by its supervisor. Std only, blocking.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::launch::find_program;
use super::process::{ProcessMark, as_pid};
use super::record::{Launch, ProbePlan};
use super::shim::{Shared, tie_to_supervisor};

pub const STARTING: &str = "starting";
const HEALTHY: &str = "healthy";
const UNHEALTHY: &str = "unhealthy";
const POLL: Duration = Duration::from_millis(10);

struct Probe {
    plan: ProbePlan,
    child: ProcessMark,
    shared: Arc<Shared>,
    environment: BTreeMap<String, String>,
    working_dir: PathBuf,
}

/// Watches this run of the program from another thread, until it ends.
pub(super) fn begin(plan: ProbePlan, child: ProcessMark, shared: Arc<Shared>, launch: &Launch) {
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

    /// False when the program ended meanwhile.
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
        command.spawn().is_ok_and(|child| self.ends_well(child))
    }

    fn ends_well(&self, mut child: Child) -> bool {
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
