//! Copies of volumes, snapshots, and their undos.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{RemoveContainer, RunContainer};
use deployer::effect::volume::{
    CloneVolume, CreateVolume, ListVolumes, MeasureVolume, PruneVolumes, RemoveVolume, RestoreVolume, SnapshotVolume,
    SwapVolumes, Volume, snapshots_of,
};
use serde_json::json;

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::App;

async fn find_volume(context: &ScenarioContext<'_>, name: &str) -> Option<Volume> {
    context.must::<ListVolumes>(json!({ "name": name })).await.into_iter().next()
}

pub async fn clone(context: &ScenarioContext<'_>) {
    let (data, copy) = (context.name("data"), context.name("copy"));
    context.must::<CreateVolume>(json!({ "name": data })).await;
    let request = json!({ "volume": data, "to": copy, "labels": { "a": "1" }, "service": "shop" });
    let copied = context.must::<CloneVolume>(request.clone()).await;
    assert_eq!((copied.name.as_str(), copied.of.as_str()), (copy.as_str(), data.as_str()));
    let made = find_volume(context, &copy).await.unwrap();
    let label = |key: &str| made.labels.get(key).map(String::as_str);
    assert_eq!((label("a"), label(labels::SERVICE)), (Some("1"), Some("shop")));
    assert_eq!((label(labels::COPY_OF), label(labels::RUN)), (Some(data.as_str()), Some(context.run().as_str())));
    let second = context.must::<CloneVolume>(json!({ "volume": copy, "to": context.name("second") })).await;
    assert!(copied.content.digest.is_some());
    assert_eq!(second.content.digest, copied.content.digest);
    let bare = json!({ "volume": copy, "to": context.name("bare"), "verify": false });
    assert_eq!(context.must::<CloneVolume>(bare).await.content.digest, None);
    let size = context.must::<MeasureVolume>(json!({ "volume": copy })).await;
    assert_eq!((size.bytes, size.files), (copied.content.bytes, Some(copied.content.files)));

    context.refused::<CloneVolume>(request, ErrorKind::NameTaken).await;
    context.refused::<CloneVolume>(json!({ "volume": data, "to": data }), ErrorKind::Invalid).await;
    let missing = json!({ "volume": context.name("none"), "to": context.name("new") });
    context.refused::<CloneVolume>(missing, ErrorKind::NotFound).await;
    context.refused::<MeasureVolume>(json!({ "volume": context.name("none") }), ErrorKind::NotFound).await;

    // The undo of the first copy keeps a copy of another run, and may be performed twice.
    let undo = json!({ "name": copy, "missing_ok": true, "only_own": true });
    assert!(!context.ask_as::<RemoveVolume>(&context.other_run(), undo.clone()).await.unwrap().removed);
    assert!(context.must::<RemoveVolume>(undo.clone()).await.removed);
    assert!(!context.must::<RemoveVolume>(undo).await.removed);
}

pub async fn clone_with_a_writer(context: &ScenarioContext<'_>) {
    let data = context.name("data");
    context.must::<CreateVolume>(json!({ "name": data })).await;
    let mount = |how: &str| json!([format!("{data}:/data{how}")]);
    let web =
        |how: &str| json!({ "name": context.name("web"), "image": context.image(App::Web), "volumes": mount(how) });
    let clone = |to: &str, how: &str| json!({ "volume": data, "to": context.name(to), "while_written": how });
    context.must::<RunContainer>(web("")).await;
    context.refused::<CloneVolume>(clone("one", "refuse"), ErrorKind::Conflict).await;
    assert!(find_volume(context, &context.name("one")).await.is_none());
    context.must::<CloneVolume>(clone("two", "pause")).await;
    context.must::<CloneVolume>(clone("three", "allow")).await;
    context.must::<RemoveContainer>(json!({ "container": context.name("web"), "force": true })).await;
    context.must::<RunContainer>(web(":ro")).await;
    context.must::<CloneVolume>(clone("one", "refuse")).await;
}

pub async fn snapshots(context: &ScenarioContext<'_>) {
    let data = context.name("data");
    context.must::<CreateVolume>(json!({ "name": data })).await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let kept = context.must::<SnapshotVolume>(json!({ "volume": data })).await;
        assert_eq!(kept.of, data);
        let labels = find_volume(context, &kept.name).await.unwrap().labels;
        assert_eq!(labels.get(labels::SNAPSHOT_AT), Some(&kept.at));
        names.push(kept.name);
    }
    let filter = serde_json::to_value(snapshots_of(&data)).unwrap();
    let list = async || -> Vec<String> {
        context.must::<ListVolumes>(filter.clone()).await.into_iter().map(|volume| volume.name).collect()
    };
    assert_eq!(list().await, names, "sorted by name, the snapshots are sorted by time");
    let undo = json!({ "volume": data, "only_own": true });
    assert!(context.must::<PruneVolumes>(undo).await.removed.is_empty(), "a complete snapshot is not removed");
    assert!(context.must::<PruneVolumes>(json!({ "volume": data })).await.removed.is_empty());
    let recent = json!({ "volume": data, "older_than": "1h" });
    assert!(context.must::<PruneVolumes>(recent).await.removed.is_empty());
    let pruned = context.must::<PruneVolumes>(json!({ "volume": data, "keep": 1 })).await;
    assert_eq!(pruned.removed.len(), 2);
    assert_eq!(list().await, [names[2].clone()]);
}

pub async fn restore(context: &ScenarioContext<'_>) {
    let data = context.name("data");
    context.must::<CreateVolume>(json!({ "name": data })).await;
    let kept = context.must::<SnapshotVolume>(json!({ "volume": data })).await;
    let request = json!({ "snapshot": kept.name });
    context
        .must::<RunContainer>(json!({
            "name": context.name("web"), "image": context.image(App::Web), "volumes": [format!("{data}:/data")],
        }))
        .await;
    context.refused::<RestoreVolume>(request.clone(), ErrorKind::Conflict).await;
    context.must::<RemoveContainer>(json!({ "container": context.name("web"), "force": true })).await;
    let restored = context.must::<RestoreVolume>(request).await;
    assert_eq!((restored.volume.as_str(), restored.restored), (data.as_str(), true));
    let replaced = restored.kept.unwrap();
    assert!(find_volume(context, &replaced).await.is_some());
    let undo = json!({ "snapshot": replaced, "to": data, "only_own": true });
    assert!(!context.ask_as::<RestoreVolume>(&context.other_run(), undo.clone()).await.unwrap().restored);
    assert!(context.must::<RestoreVolume>(undo.clone()).await.restored);
    assert!(find_volume(context, &replaced).await.is_none() && find_volume(context, &data).await.is_some());
    assert!(!context.must::<RestoreVolume>(undo).await.restored);
    context.refused::<RestoreVolume>(json!({ "snapshot": context.name("plain") }), ErrorKind::Invalid).await;
    context
        .refused::<RestoreVolume>(json!({ "snapshot": context.name("none"), "to": data }), ErrorKind::NotFound)
        .await;
}

pub async fn swap(context: &ScenarioContext<'_>) {
    let (one, other) = (context.name("one"), context.name("other"));
    context.must::<CreateVolume>(json!({ "name": one })).await;
    context.must::<CreateVolume>(json!({ "name": other })).await;
    let ids = async || {
        (find_volume(context, &one).await.unwrap().content_id, find_volume(context, &other).await.unwrap().content_id)
    };
    let (first, second) = ids().await;
    assert!(first.is_some() && first != second);
    let swap = json!({ "volume": one, "other": other });
    assert!(context.must::<SwapVolumes>(swap.clone()).await.swapped);
    assert_eq!(ids().await, (second.clone(), first.clone()));
    let back = json!({ "volume": one, "other": other, "back_to": first });
    assert!(context.must::<SwapVolumes>(back.clone()).await.swapped);
    assert!(!context.must::<SwapVolumes>(back).await.swapped, "the swap is undone only once");
    assert_eq!(ids().await, (first, second));
    context.refused::<SwapVolumes>(json!({ "volume": one, "other": one }), ErrorKind::Invalid).await;
    context.refused::<SwapVolumes>(json!({ "volume": one, "other": context.name("none") }), ErrorKind::NotFound).await;
}
