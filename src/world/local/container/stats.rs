//! Resource usage of local containers, from `/proc`.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::record::{Phase, ProcessState, STATE};
use crate::effect::EffectError;
use crate::effect::container::{Stats, container_has_no_stats};
use crate::world::local::local_engine::{LocalEngine, run_blocking};
use crate::world::local::state_folder::read_json;

/// Time between the two samples from which processor usage is computed.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Resource usage of the processes of a session.
struct Sample {
    /// Clock ticks of processor time.
    ticks: u64,
    memory: u64,
    processes: u64,
    read: u64,
    written: u64,
}

impl LocalEngine {
    pub(crate) async fn container_stats(&self, reference: &str) -> Result<Stats, EffectError> {
        let engine = Arc::new(self.clone());
        let sample = async || {
            let reference = reference.to_owned();
            run_blocking(&engine, move |engine| engine.sample(&reference)).await
        };
        let first = sample().await?;
        tokio::time::sleep(SAMPLE_INTERVAL).await;
        Ok(first.until(&sample().await?))
    }

    fn sample(&self, reference: &str) -> Result<Sample, EffectError> {
        let record = self.require_container(reference)?;
        let state: Option<ProcessState> = read_json(&self.container_file(&record.id, STATE))?;
        let running = state.filter(|state| state.phase == Phase::Running && state.supervisor.is_alive());
        let supervisor = running.map(|state| state.supervisor);
        let supervisor = supervisor.ok_or_else(|| container_has_no_stats(&record.spec.name))?;
        let mut sample = Sample { ticks: 0, memory: 0, processes: 0, read: 0, written: 0 };
        // The supervisor leads the session of all processes it started; it belongs to deployer.
        for pid in supervisor.session().into_iter().filter(|pid| *pid != supervisor.pid) {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let stat = read("stat");
            let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
            let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            // Fields 14, 15 and 24 of the manual page, counted from the state, which is field 3.
            sample.ticks += number(11) + number(12);
            sample.memory += number(21) * page_size();
            sample.processes += 1;
            let io = read("io");
            let bytes = |key: &str| io.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
            sample.read += bytes("read_bytes:").unwrap_or(0);
            sample.written += bytes("write_bytes:").unwrap_or(0);
        }
        Ok(sample)
    }
}

impl Sample {
    /// Returns the usage between this sample and a later one.
    fn until(&self, later: &Self) -> Stats {
        let ticks = later.ticks.saturating_sub(self.ticks);
        #[allow(clippy::cast_precision_loss, reason = "a percentage for display")]
        let share = ticks as f64 / (ticks_a_second() * SAMPLE_INTERVAL.as_secs_f64());
        Stats {
            cpu_percent: (share * 1000.0).round() / 10.0,
            memory: later.memory,
            memory_limit: None,
            processes: later.processes,
            network_in: None,
            network_out: None,
            disk_read: Some(later.read),
            disk_written: Some(later.written),
        }
    }
}

fn page_size() -> u64 {
    setting(nix::unistd::SysconfVar::PAGE_SIZE, 4096)
}

#[allow(clippy::cast_precision_loss, reason = "a hundred")]
fn ticks_a_second() -> f64 {
    setting(nix::unistd::SysconfVar::CLK_TCK, 100) as f64
}

fn setting(name: nix::unistd::SysconfVar, usual: u64) -> u64 {
    nix::unistd::sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(usual)
}
