//! What the processes of a local container use, and its whole log into a file.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::folder::{io_error, read_json};
use super::record::{LOG, Phase, RunState, STATE};
use super::{LocalEngine, blocking};
use crate::effect::container::Stats;
use crate::effect::{EffectError, ErrorKind};

/// Between the two looks that the use of the processor is told from.
const MOMENT: Duration = Duration::from_millis(500);

/// What the processes of one session used so far.
struct Sample {
    /// Clock ticks of processor time.
    ticks: u64,
    memory: u64,
    processes: u64,
    read: u64,
    written: u64,
}

impl LocalEngine {
    pub(super) async fn stats_of(&self, reference: &str) -> Result<Stats, EffectError> {
        let engine = Arc::new(self.clone());
        let sample = async || {
            let reference = reference.to_owned();
            blocking(&engine, move |engine| engine.sample(&reference)).await
        };
        let first = sample().await?;
        tokio::time::sleep(MOMENT).await;
        Ok(first.until(&sample().await?))
    }

    fn sample(&self, reference: &str) -> Result<Sample, EffectError> {
        let record = self.need(reference)?;
        let state: Option<RunState> = read_json(&self.container_file(&record.id, STATE))?;
        let running = state.filter(|state| state.phase == Phase::Running && state.supervisor.is_alive());
        let supervisor = running.map(|state| state.supervisor).ok_or_else(|| {
            let message = format!("container `{}` is not running, so it uses nothing", record.spec.name);
            EffectError::new(ErrorKind::Conflict, message).not_applied()
        })?;
        let mut sample = Sample { ticks: 0, memory: 0, processes: 0, read: 0, written: 0 };
        // The supervisor leads the session of all that it started; it is deployer's own.
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

    /// Writes the whole log into a file that is there.
    pub(super) fn write_log(&self, reference: &str, to: &Path) -> Result<(), EffectError> {
        let record = self.need(reference)?;
        let log = self.container_file(&record.id, LOG);
        let copied = File::options().write(true).truncate(true).open(to).and_then(|mut file| {
            // The older part first.
            for part in [super::log_file::older(&log), log.clone()] {
                match File::open(&part) {
                    Ok(mut part) => drop(io::copy(&mut part, &mut file)?),
                    Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                    Err(why) => return Err(why),
                }
            }
            Ok(())
        });
        copied.map_err(|why| io_error("write", to, &why))
    }
}

impl Sample {
    /// What was used from this one to a later one.
    fn until(&self, later: &Self) -> Stats {
        let ticks = later.ticks.saturating_sub(self.ticks);
        #[allow(clippy::cast_precision_loss, reason = "a share, for people")]
        let share = ticks as f64 / (ticks_a_second() * MOMENT.as_secs_f64());
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
