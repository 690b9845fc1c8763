//! What a container uses, and its whole log into a file.

use std::path::Path;
use std::time::Duration;

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::{LogsOptionsBuilder, StatsOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

use super::error::{About, explain, within};
use super::{DockerEngine, names};
use crate::base::container_ref::ContainerRef;
use crate::effect::container::Stats;
use crate::effect::{EffectError, ErrorKind};
use crate::world::clock::Clock;

/// Between the two looks that the use of the processor is told from.
const MOMENT: Duration = Duration::from_millis(500);
const STATS_DEADLINE: Duration = Duration::from_secs(15);
/// The longest that the engine may say nothing while a log is read.
const SILENCE: Duration = Duration::from_secs(30);

impl DockerEngine {
    pub(super) async fn read_stats(&self, container: &ContainerRef) -> Result<Stats, EffectError> {
        let found = self.container_of(container).await?;
        if !found.is_running() {
            let message = format!("container `{}` is not running, so it uses nothing", found.name);
            return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
        }
        let first = self.sample(&found.id).await?;
        self.clock.sleep(MOMENT).await;
        let second = self.sample(&found.id).await?;
        Ok(used(&first, &second))
    }

    async fn sample(&self, id: &str) -> Result<ContainerStatsResponse, EffectError> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut stream = self.docker.stats(id, Some(options));
        let sample = within(STATS_DEADLINE, About::Container(id), async { stream.next().await.transpose() }).await?;
        sample.ok_or_else(|| EffectError::new(ErrorKind::Unavailable, "the engine has no figures of the container"))
    }

    /// Writes the whole log into a file that is there, each line with its time.
    pub(super) async fn write_log(&self, container: &ContainerRef, to: &Path) -> Result<(), EffectError> {
        let name = names::plain("container", &container.key)?;
        let broken = |error: std::io::Error| {
            let kind =
                if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::DiskFull } else { ErrorKind::Failed };
            EffectError::new(kind, format!("the log of container `{name}` cannot be written: {error}"))
        };
        let file = tokio::fs::File::options().write(true).truncate(true).open(to).await.map_err(broken)?;
        let mut file = tokio::io::BufWriter::new(file);
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true).tail("all").build();
        let mut pieces = self.docker.logs(name, Some(options));
        loop {
            let next = tokio::time::timeout(SILENCE, pieces.try_next()).await.map_err(|_| {
                let message = format!("the engine stopped in the middle of the log of container `{name}`");
                EffectError::new(ErrorKind::Unavailable, message)
            })?;
            match next.map_err(|error| explain(error, About::Container(name)))? {
                Some(piece) => file.write_all(piece.as_ref()).await.map_err(broken)?,
                None => return file.flush().await.map_err(broken),
            }
        }
    }
}

fn used(first: &ContainerStatsResponse, second: &ContainerStatsResponse) -> Stats {
    let cpu = |sample: &ContainerStatsResponse| {
        let cpu = sample.cpu_stats.as_ref()?;
        Some((cpu.cpu_usage.as_ref()?.total_usage?, cpu.system_cpu_usage?, cpu.online_cpus.unwrap_or(1)))
    };
    let cpu_percent = match (cpu(first), cpu(second)) {
        (Some((own, all, _)), Some((own_now, all_now, processors))) if all_now > all => {
            #[allow(clippy::cast_precision_loss, reason = "a share, for people")]
            let share = own_now.saturating_sub(own) as f64 / (all_now - all) as f64;
            // In tenths: more than that is chance.
            (share * f64::from(processors) * 1000.0).round() / 10.0
        }
        _ => 0.0,
    };
    let memory = second.memory_stats.clone().unwrap_or_default();
    let details = memory.stats.unwrap_or_default();
    // As the docker program counts: cgroup v2 calls it `inactive_file`, v1 `total_inactive_file`.
    let cached = details.get("total_inactive_file").or_else(|| details.get("inactive_file")).copied().unwrap_or(0);
    let networks = second.networks.as_ref();
    let traffic = |of: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.map(|networks| networks.values().filter_map(of).sum())
    };
    let blocks = second.blkio_stats.as_ref().and_then(|stats| stats.io_service_bytes_recursive.as_ref());
    let disk = |word: &str| {
        blocks.map(|entries| {
            let own =
                entries.iter().filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(word)));
            own.filter_map(|entry| entry.value).sum()
        })
    };
    Stats {
        cpu_percent,
        memory: memory.usage.unwrap_or(0).saturating_sub(cached),
        memory_limit: memory.limit,
        processes: second.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or(0),
        network_in: traffic(|network| network.rx_bytes),
        network_out: traffic(|network| network.tx_bytes),
        disk_read: disk("read"),
        disk_written: disk("write"),
    }
}
