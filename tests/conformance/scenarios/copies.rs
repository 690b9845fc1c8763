//! Copies of volumes, snapshots, and what takes them back.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{RemoveContainer, RunContainer};
use deployer::effect::volume::{
    CloneVolume, CreateVolume, ListVolumes, MeasureVolume, PruneVolumes, RemoveVolume, RestoreVolume, SnapshotVolume,
    SwapVolumes, Volume, snapshots_of,
};
use serde_json::json;

use crate::host::App;
use crate::stage::Stage;

async fn named(stage: &Stage<'_>, name: &str) -> Option<Volume> {
    stage.must::<ListVolumes>(json!({ "name": name })).await.into_iter().next()
}

pub async fn clone(stage: &Stage<'_>) {
    let (data, copy) = (stage.name("data"), stage.name("copy"));
    stage.must::<CreateVolume>(json!({ "name": data })).await;
    let request = json!({ "volume": data, "to": copy, "labels": { "a": "1" }, "service": "shop" });
    let copied = stage.must::<CloneVolume>(request.clone()).await;
    assert_eq!((copied.name.as_str(), copied.of.as_str()), (copy.as_str(), data.as_str()));
    let made = named(stage, &copy).await.unwrap();
    let label = |key: &str| made.labels.get(key).map(String::as_str);
    assert_eq!((label("a"), label(labels::SERVICE)), (Some("1"), Some("shop")));
    assert_eq!((label(labels::COPY_OF), label(labels::RUN)), (Some(data.as_str()), Some(stage.run().as_str())));
    let second = stage.must::<CloneVolume>(json!({ "volume": copy, "to": stage.name("second") })).await;
    assert!(copied.content.digest.is_some());
    assert_eq!(second.content.digest, copied.content.digest);
    let bare = json!({ "volume": copy, "to": stage.name("bare"), "verify": false });
    assert_eq!(stage.must::<CloneVolume>(bare).await.content.digest, None);
    let size = stage.must::<MeasureVolume>(json!({ "volume": copy })).await;
    assert_eq!((size.bytes, size.files), (copied.content.bytes, Some(copied.content.files)));

    stage.refused::<CloneVolume>(request, ErrorKind::NameTaken).await;
    stage.refused::<CloneVolume>(json!({ "volume": data, "to": data }), ErrorKind::Invalid).await;
    let missing = json!({ "volume": stage.name("none"), "to": stage.name("new") });
    stage.refused::<CloneVolume>(missing, ErrorKind::NotFound).await;
    stage.refused::<MeasureVolume>(json!({ "volume": stage.name("none") }), ErrorKind::NotFound).await;

    // The undo of the first one: another run's copy is left alone, and once is enough.
    let undo = json!({ "name": copy, "missing_ok": true, "only_own": true });
    assert!(!stage.ask_as::<RemoveVolume>(&stage.other_run(), undo.clone()).await.unwrap().removed);
    assert!(stage.must::<RemoveVolume>(undo.clone()).await.removed);
    assert!(!stage.must::<RemoveVolume>(undo).await.removed);
}

pub async fn clone_beside_a_writer(stage: &Stage<'_>) {
    let data = stage.name("data");
    stage.must::<CreateVolume>(json!({ "name": data })).await;
    let mount = |how: &str| json!([format!("{data}:/data{how}")]);
    let web = |how: &str| json!({ "name": stage.name("web"), "image": stage.image(App::Web), "volumes": mount(how) });
    let clone = |to: &str, how: &str| json!({ "volume": data, "to": stage.name(to), "while_written": how });
    stage.must::<RunContainer>(web("")).await;
    stage.refused::<CloneVolume>(clone("one", "refuse"), ErrorKind::Conflict).await;
    assert!(named(stage, &stage.name("one")).await.is_none());
    stage.must::<CloneVolume>(clone("two", "pause")).await;
    stage.must::<CloneVolume>(clone("three", "allow")).await;
    stage.must::<RemoveContainer>(json!({ "container": stage.name("web"), "force": true })).await;
    stage.must::<RunContainer>(web(":ro")).await;
    stage.must::<CloneVolume>(clone("one", "refuse")).await;
}

pub async fn snapshots(stage: &Stage<'_>) {
    let data = stage.name("data");
    stage.must::<CreateVolume>(json!({ "name": data })).await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let kept = stage.must::<SnapshotVolume>(json!({ "volume": data })).await;
        assert_eq!(kept.of, data);
        let labels = named(stage, &kept.name).await.unwrap().labels;
        assert_eq!(labels.get(labels::SNAPSHOT_AT), Some(&kept.at));
        names.push(kept.name);
    }
    let wanted = serde_json::to_value(snapshots_of(&data)).unwrap();
    let list = async || -> Vec<String> {
        stage.must::<ListVolumes>(wanted.clone()).await.into_iter().map(|volume| volume.name).collect()
    };
    assert_eq!(list().await, names, "by name is by time");
    let undo = json!({ "volume": data, "only_own": true });
    assert!(stage.must::<PruneVolumes>(undo).await.removed.is_empty(), "a whole snapshot is not taken back");
    assert!(stage.must::<PruneVolumes>(json!({ "volume": data })).await.removed.is_empty());
    let young = json!({ "volume": data, "older_than": "1h" });
    assert!(stage.must::<PruneVolumes>(young).await.removed.is_empty());
    let due = stage.must::<PruneVolumes>(json!({ "volume": data, "keep": 1 })).await;
    assert_eq!(due.removed.len(), 2);
    assert_eq!(list().await, [names[2].clone()]);
}

pub async fn restore(stage: &Stage<'_>) {
    let data = stage.name("data");
    stage.must::<CreateVolume>(json!({ "name": data })).await;
    let kept = stage.must::<SnapshotVolume>(json!({ "volume": data })).await;
    let request = json!({ "snapshot": kept.name });
    stage
        .must::<RunContainer>(json!({
            "name": stage.name("web"), "image": stage.image(App::Web), "volumes": [format!("{data}:/data")],
        }))
        .await;
    stage.refused::<RestoreVolume>(request.clone(), ErrorKind::Conflict).await;
    stage.must::<RemoveContainer>(json!({ "container": stage.name("web"), "force": true })).await;
    let restored = stage.must::<RestoreVolume>(request).await;
    assert_eq!((restored.volume.as_str(), restored.restored), (data.as_str(), true));
    let replaced = restored.kept.unwrap();
    assert!(named(stage, &replaced).await.is_some());
    let undo = json!({ "snapshot": replaced, "to": data, "only_own": true });
    assert!(!stage.ask_as::<RestoreVolume>(&stage.other_run(), undo.clone()).await.unwrap().restored);
    assert!(stage.must::<RestoreVolume>(undo.clone()).await.restored);
    assert!(named(stage, &replaced).await.is_none() && named(stage, &data).await.is_some());
    assert!(!stage.must::<RestoreVolume>(undo).await.restored);
    stage.refused::<RestoreVolume>(json!({ "snapshot": stage.name("plain") }), ErrorKind::Invalid).await;
    stage.refused::<RestoreVolume>(json!({ "snapshot": stage.name("none"), "to": data }), ErrorKind::NotFound).await;
}

pub async fn swap(stage: &Stage<'_>) {
    let (one, other) = (stage.name("one"), stage.name("other"));
    stage.must::<CreateVolume>(json!({ "name": one })).await;
    stage.must::<CreateVolume>(json!({ "name": other })).await;
    let ids = async || (named(stage, &one).await.unwrap().content_id, named(stage, &other).await.unwrap().content_id);
    let (first, second) = ids().await;
    assert!(first.is_some() && first != second);
    let swap = json!({ "volume": one, "other": other });
    assert!(stage.must::<SwapVolumes>(swap.clone()).await.swapped);
    assert_eq!(ids().await, (second.clone(), first.clone()));
    let back = json!({ "volume": one, "other": other, "back_to": first });
    assert!(stage.must::<SwapVolumes>(back.clone()).await.swapped);
    assert!(!stage.must::<SwapVolumes>(back).await.swapped, "once is enough");
    assert_eq!(ids().await, (first, second));
    stage.refused::<SwapVolumes>(json!({ "volume": one, "other": one }), ErrorKind::Invalid).await;
    stage.refused::<SwapVolumes>(json!({ "volume": one, "other": stage.name("none") }), ErrorKind::NotFound).await;
}
