//! Volumes, networks and ports.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{CreateContainer, InspectContainer, RemoveContainer, RunContainer};
use deployer::effect::health::WaitHealthy;
use deployer::effect::host::PortFree;
use deployer::effect::network::{ConnectNetwork, CreateNetwork, ListNetworks, RemoveNetwork};
use deployer::effect::volume::{CreateVolume, ListVolumes, RemoveVolume};
use serde_json::json;

use crate::host::{APP_PORT, App};
use crate::stage::Stage;

pub async fn volumes(stage: &Stage<'_>) {
    let (name, other) = (stage.name("data"), stage.other_run());
    let made = stage.must::<CreateVolume>(json!({ "name": name, "labels": { "a": "1" }, "service": "shop" })).await;
    assert_eq!(made.labels.get(labels::RUN).map(String::as_str), Some(stage.run().as_str()));
    assert_eq!(made.labels.get(labels::SERVICE).map(String::as_str), Some("shop"));
    let again = stage.ask_as::<CreateVolume>(&other, json!({ "name": name, "labels": { "a": "2" } })).await.unwrap();
    assert_eq!(again.labels, made.labels, "the first one stays");
    let listed = stage.must::<ListVolumes>(json!({ "name": name })).await;
    assert_eq!((listed.len(), listed[0].name.as_str()), (1, name.as_str()));
    assert!(stage.must::<ListVolumes>(json!({ "name": stage.name("dat") })).await.is_empty(), "no part of a name");
    assert!(stage.must::<ListVolumes>(json!({ "name": name, "labels": { "a": "2" } })).await.is_empty());
    let volume = format!("{name}:/data");
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web), "volumes": [volume] });
    stage.must::<CreateContainer>(spec).await;
    stage.refused::<RemoveVolume>(json!({ "name": name }), ErrorKind::Conflict).await;
    stage.must::<RemoveContainer>(json!({ "container": stage.name("web") })).await;
    assert_eq!(stage.must::<ListVolumes>(json!({ "name": name })).await.len(), 1, "named volumes stay");
    let own = json!({ "name": name, "only_own": true });
    assert!(!stage.ask_as::<RemoveVolume>(&other, own).await.unwrap().removed, "another run's is left alone");
    assert!(stage.must::<RemoveVolume>(json!({ "name": name })).await.removed);
    stage.refused::<RemoveVolume>(json!({ "name": name }), ErrorKind::NotFound).await;
    assert!(!stage.must::<RemoveVolume>(json!({ "name": name, "missing_ok": true })).await.removed);
}

pub async fn networks(stage: &Stage<'_>) {
    let name = stage.name("net");
    stage.note_network(&name);
    let made = stage.must::<CreateNetwork>(json!({ "name": name })).await;
    assert!(made.created);
    assert_eq!(made.labels.get(labels::RUN).map(String::as_str), Some(stage.run().as_str()));
    let again = stage.must::<CreateNetwork>(json!({ "name": name })).await;
    assert_eq!((again.created, &again.id), (false, &made.id), "one that is there is left as it is");
    let listed = stage.must::<ListNetworks>(json!({ "name": name })).await;
    assert_eq!((listed.len(), &listed[0].labels), (1, &made.labels));
    let ours = json!({ "labels": { "deployer.run": stage.run().as_str() } });
    assert!(stage.must::<ListNetworks>(ours).await.iter().any(|network| network.name == name));
    assert!(stage.must::<ListNetworks>(json!({ "name": stage.name("ne") })).await.is_empty(), "no part of a name");
    let web = stage.start("web", App::Web).await;
    let on = async || {
        let found = stage.must::<InspectContainer>(json!({ "container": web.id })).await.unwrap();
        found.networks.contains_key(&name)
    };
    stage.connect(&name, &web.id, false).await;
    stage.connect(&name, &web.id, false).await;
    assert!(on().await);
    stage.refused::<RemoveNetwork>(json!({ "name": name }), ErrorKind::Conflict).await;
    stage.connect(&name, &web.id, true).await;
    stage.connect(&name, &web.id, true).await;
    assert!(!on().await);
    let nowhere = json!({ "network": stage.name("nowhere"), "container": web.id });
    stage.refused::<ConnectNetwork>(nowhere, ErrorKind::NotFound).await;
    let nobody = json!({ "network": name, "container": stage.name("nobody") });
    stage.refused::<ConnectNetwork>(nobody, ErrorKind::NotFound).await;
    let own = json!({ "name": name, "only_own": true });
    assert!(!stage.ask_as::<RemoveNetwork>(&stage.other_run(), own).await.unwrap().removed);
    let spec = json!({ "name": stage.name("second"), "image": stage.image(App::Web), "networks": [name] });
    assert!(stage.must::<RunContainer>(spec).await.networks.contains_key(&name));
    stage.must::<RemoveContainer>(json!({ "container": stage.name("second"), "force": true })).await;
    assert!(stage.must::<RemoveNetwork>(json!({ "name": name })).await.removed);
    stage.refused::<RemoveNetwork>(json!({ "name": name }), ErrorKind::NotFound).await;
    assert!(!stage.must::<RemoveNetwork>(json!({ "name": name, "missing_ok": true })).await.removed);
}

pub async fn ports(stage: &Stage<'_>) {
    let port = stage.port();
    assert!(stage.must::<PortFree>(json!({ "port": port })).await.free);
    let ports = [format!("127.0.0.1:{port}:{APP_PORT}")];
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web), "ports": ports });
    stage.must::<RunContainer>(spec).await;
    stage.must::<WaitHealthy>(json!({ "container": stage.name("web"), "path": "/", "timeout": "10s" })).await;
    let taken = stage.must::<PortFree>(json!({ "port": port })).await;
    assert_eq!((taken.free, taken.container), (false, Some(stage.name("web"))));
    stage.must::<RemoveContainer>(json!({ "container": stage.name("web"), "force": true })).await;
    assert!(stage.must::<PortFree>(json!({ "port": port })).await.free);
    let spec = json!({
        "name": stage.name("any"), "image": stage.image(App::Web), "ports": [format!("127.0.0.1:0:{APP_PORT}")],
    });
    let chosen = stage.must::<RunContainer>(spec).await.ports;
    assert!(chosen.len() == 1 && chosen[0].host_port > 0, "the engine chooses: {chosen:?}");
}
