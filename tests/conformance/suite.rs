//! Runs every scenario on one host, several at a time, and cleans up whatever happened.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use deployer::effect::container::{ListContainers, RemoveContainer};
use deployer::effect::image::{ListImages, RemoveImage};
use deployer::effect::volume::{ListVolumes, RemoveVolume};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;

use crate::host::{App, Host};
use crate::scenarios;
use crate::stage::{Stage, image_name};

/// One scenario: its name and its play.
pub struct Scenario {
    pub name: &'static str,
    pub play: for<'a> fn(&'a Stage<'a>) -> BoxFuture<'a, ()>,
}

/// Scenarios that are under way at the same time.
const AT_ONCE: usize = 6;
/// Of one scenario; the longest waits a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays all scenarios and fails with the list of those that failed.
pub fn run<H: Host + 'static>(open: impl AsyncFnOnce() -> H) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let host = open().await;
        let failed = AssertUnwindSafe(play_all(&host)).catch_unwind().await;
        clean_up(&host).await;
        let failed = failed.unwrap_or_else(|panic| vec![format!("setting up: {}", text_of(&*panic))]);
        assert!(failed.is_empty(), "{} scenarios failed:\n{}", failed.len(), failed.join("\n"));
    });
}

async fn play_all(host: &dyn Host) -> Vec<String> {
    let builder = Stage::new(host, "set_up", 0);
    for app in App::ALL {
        let effect = host.build(app, &image_name(host, app)).into();
        builder.perform(&effect).await.unwrap_or_else(|error| panic!("building {app:?}: {error:?}"));
    }
    stream::iter(scenarios::all().into_iter().enumerate())
        .map(|(number, scenario)| async move {
            let stage = Stage::new(host, scenario.name, u8::try_from(number + 1).unwrap());
            let play = AssertUnwindSafe((scenario.play)(&stage)).catch_unwind();
            let ended = tokio::time::timeout(PATIENCE, play).await;
            remove_containers(host, &stage.name("")).await;
            stage.remove_networks().await;
            match ended {
                Ok(Ok(())) => None,
                Ok(Err(panic)) => Some(format!("- {}: {}", scenario.name, text_of(&*panic))),
                Err(_) => Some(format!("- {}: not finished within {PATIENCE:?}", scenario.name)),
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|failure| async { failure })
        .collect()
        .await
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "panicked".into())
}

async fn remove_containers(host: &dyn Host, prefix: &str) {
    let stage = Stage::new(host, "clean_up", 0);
    let containers = stage.ask::<ListContainers>(json!({ "all": true })).await.unwrap_or_default();
    for container in containers.iter().filter(|container| container.name.starts_with(prefix)) {
        let args = json!({ "container": container.id, "force": true, "missing_ok": true });
        let _ = stage.ask::<RemoveContainer>(args).await;
    }
}

/// Removes everything that has the host's prefix in its name; a lock may be a volume with a longer name.
async fn clean_up(host: &dyn Host) {
    let stage = Stage::new(host, "clean_up", 0);
    remove_containers(host, host.prefix()).await;
    let volumes = stage.ask::<ListVolumes>(json!({})).await.unwrap_or_default();
    for volume in volumes.iter().filter(|volume| volume.name.contains(host.prefix())) {
        let _ = stage.ask::<RemoveVolume>(json!({ "name": volume.name, "missing_ok": true })).await;
    }
    let images = stage.ask::<ListImages>(json!({})).await.unwrap_or_default();
    for tag in images.iter().flat_map(|image| &image.tags).filter(|tag| tag.starts_with(host.prefix())) {
        let _ = stage.ask::<RemoveImage>(json!({ "image": tag, "force": true, "missing_ok": true })).await;
    }
}
