//! Measures the resources that a container uses.

use std::time::Duration;

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt;

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Stats, container_has_no_stats};
use crate::effect::{EffectError, ErrorKind};
use crate::world::clock::Clock;
use crate::world::docker::error::{Subject, await_reply_within};

/// The interval between the two samples that processor use is computed from.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
const SAMPLE_DEADLINE: Duration = Duration::from_secs(15);

impl Containers {
    pub(in crate::world::docker) async fn stats(&self, container: &ContainerRef) -> Result<Stats, EffectError> {
        let container = self.get(container).await?;
        if !container.is_running() {
            return Err(container_has_no_stats(&container.name));
        }
        let first = self.sample(&container.id).await?;
        self.client.clock.sleep(SAMPLE_INTERVAL).await;
        let second = self.sample(&container.id).await?;
        Ok(stats_between(&first, &second))
    }

    async fn sample(&self, id: &str) -> Result<ContainerStatsResponse, EffectError> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut stream = self.client.docker.stats(id, Some(options));
        let sample =
            await_reply_within(SAMPLE_DEADLINE, Subject::Container(id), async { stream.next().await.transpose() })
                .await?;
        sample.ok_or_else(|| EffectError::new(ErrorKind::Unavailable, "the engine has no statistics of the container"))
    }
}

/// Computes the use of resources between two samples.
fn stats_between(first: &ContainerStatsResponse, second: &ContainerStatsResponse) -> Stats {
    let cpu = |sample: &ContainerStatsResponse| {
        let cpu = sample.cpu_stats.as_ref()?;
        Some((cpu.cpu_usage.as_ref()?.total_usage?, cpu.system_cpu_usage?, cpu.online_cpus.unwrap_or(1)))
    };
    let cpu_percent = match (cpu(first), cpu(second)) {
        (Some((used, total, _)), Some((used_now, total_now, processors))) if total_now > total => {
            #[allow(clippy::cast_precision_loss, reason = "only displayed")]
            let share = used_now.saturating_sub(used) as f64 / (total_now - total) as f64;
            // Rounded to tenths: more digits are noise.
            (share * f64::from(processors) * 1000.0).round() / 10.0
        }
        _ => 0.0,
    };
    let memory = second.memory_stats.clone().unwrap_or_default();
    let details = memory.stats.unwrap_or_default();
    // Subtracts the page cache, as `docker stats` does: cgroup v2 calls it `inactive_file`, v1 `total_inactive_file`.
    let cached = details.get("total_inactive_file").or_else(|| details.get("inactive_file")).copied().unwrap_or(0);
    let networks = second.networks.as_ref();
    let traffic = |of: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.map(|networks| networks.values().filter_map(of).sum())
    };
    let blocks = second.blkio_stats.as_ref().and_then(|stats| stats.io_service_bytes_recursive.as_ref());
    let disk = |operation: &str| {
        blocks.map(|entries| {
            let matching =
                entries.iter().filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(operation)));
            matching.filter_map(|entry| entry.value).sum()
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
