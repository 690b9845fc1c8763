//! Runs every scenario on one host, several at a time, and always cleans up.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use deployer::effect::container::{ListContainers, RemoveContainer};
use deployer::effect::image::{ListImages, RemoveImage};
use deployer::effect::volume::{ListVolumes, RemoveVolume};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;

use crate::conformance::context::{ScenarioContext, image_name};
use crate::conformance::host::{App, Host};
use crate::conformance::scenarios;

/// One scenario: its name and its function.
pub struct Scenario {
    pub name: &'static str,
    pub run: for<'a> fn(&'a ScenarioContext<'a>) -> BoxFuture<'a, ()>,
}

/// Scenarios that run at the same time.
const CONCURRENCY: usize = 6;
/// Time limit of one scenario; the longest takes a few seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs all scenarios and panics with the list of those that failed.
pub fn run<H: Host + 'static>(open: impl AsyncFnOnce() -> H) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let host = open().await;
        let failed = AssertUnwindSafe(run_all(&host)).catch_unwind().await;
        clean_up(&host).await;
        let failed = failed.unwrap_or_else(|panic| vec![format!("setting up: {}", text_of(&*panic))]);
        assert!(failed.is_empty(), "{} scenarios failed:\n{}", failed.len(), failed.join("\n"));
    });
}

async fn run_all(host: &dyn Host) -> Vec<String> {
    let builder = ScenarioContext::new(host, "set_up", 0);
    for app in App::ALL {
        let effect = host.build(app, &image_name(host, app)).into();
        builder.perform(&effect).await.unwrap_or_else(|error| panic!("building {app:?}: {error:?}"));
    }
    stream::iter(scenarios::all().into_iter().enumerate())
        .map(|(number, scenario)| async move {
            let context = ScenarioContext::new(host, scenario.name, u8::try_from(number + 1).unwrap());
            let run = AssertUnwindSafe((scenario.run)(&context)).catch_unwind();
            let ended = tokio::time::timeout(TIMEOUT, run).await;
            remove_containers(host, &context.name("")).await;
            context.remove_networks().await;
            match ended {
                Ok(Ok(())) => None,
                Ok(Err(panic)) => Some(format!("- {}: {}", scenario.name, text_of(&*panic))),
                Err(_) => Some(format!("- {}: not finished within {TIMEOUT:?}", scenario.name)),
            }
        })
        .buffer_unordered(CONCURRENCY)
        .filter_map(|failure| async { failure })
        .collect()
        .await
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "panicked".into())
}

async fn remove_containers(host: &dyn Host, prefix: &str) {
    let context = ScenarioContext::new(host, "clean_up", 0);
    let containers = context.ask::<ListContainers>(json!({ "all": true })).await.unwrap_or_default();
    for container in containers.iter().filter(|container| container.name.starts_with(prefix)) {
        let args = json!({ "container": container.id, "force": true, "missing_ok": true });
        let _ = context.ask::<RemoveContainer>(args).await;
    }
}

/// Removes everything with the host's prefix in its name. A lock may be a volume with a longer name.
async fn clean_up(host: &dyn Host) {
    let context = ScenarioContext::new(host, "clean_up", 0);
    remove_containers(host, host.prefix()).await;
    let volumes = context.ask::<ListVolumes>(json!({})).await.unwrap_or_default();
    for volume in volumes.iter().filter(|volume| volume.name.contains(host.prefix())) {
        let _ = context.ask::<RemoveVolume>(json!({ "name": volume.name, "missing_ok": true })).await;
    }
    let images = context.ask::<ListImages>(json!({})).await.unwrap_or_default();
    for tag in images.iter().flat_map(|image| &image.tags).filter(|tag| tag.starts_with(host.prefix())) {
        let _ = context.ask::<RemoveImage>(json!({ "image": tag, "force": true, "missing_ok": true })).await;
    }
}
