//! Volumes, networks and ports.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{CreateContainer, InspectContainer, RemoveContainer, RunContainer};
use deployer::effect::health::WaitHealthy;
use deployer::effect::host::PortFree;
use deployer::effect::network::{ConnectNetwork, CreateNetwork, ListNetworks, RemoveNetwork};
use deployer::effect::volume::{CreateVolume, ListVolumes, RemoveVolume};
use serde_json::json;

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::{APP_PORT, App};

pub async fn volumes(context: &ScenarioContext<'_>) {
    let (name, other) = (context.name("data"), context.other_run());
    let made = context.must::<CreateVolume>(json!({ "name": name, "labels": { "a": "1" }, "service": "shop" })).await;
    assert_eq!(made.labels.get(labels::RUN).map(String::as_str), Some(context.run().as_str()));
    assert_eq!(made.labels.get(labels::SERVICE).map(String::as_str), Some("shop"));
    let again = context.ask_as::<CreateVolume>(&other, json!({ "name": name, "labels": { "a": "2" } })).await.unwrap();
    assert_eq!(again.labels, made.labels, "an existing volume is not changed");
    let listed = context.must::<ListVolumes>(json!({ "name": name })).await;
    assert_eq!((listed.len(), listed[0].name.as_str()), (1, name.as_str()));
    assert!(
        context.must::<ListVolumes>(json!({ "name": context.name("dat") })).await.is_empty(),
        "a part of a name does not match"
    );
    assert!(context.must::<ListVolumes>(json!({ "name": name, "labels": { "a": "2" } })).await.is_empty());
    let volume = format!("{name}:/data");
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web), "volumes": [volume] });
    context.must::<CreateContainer>(spec).await;
    context.refused::<RemoveVolume>(json!({ "name": name }), ErrorKind::Conflict).await;
    context.must::<RemoveContainer>(json!({ "container": context.name("web") })).await;
    assert_eq!(context.must::<ListVolumes>(json!({ "name": name })).await.len(), 1, "named volumes are kept");
    let own = json!({ "name": name, "only_own": true });
    assert!(
        !context.ask_as::<RemoveVolume>(&other, own).await.unwrap().removed,
        "a volume of another run is not removed"
    );
    assert!(context.must::<RemoveVolume>(json!({ "name": name })).await.removed);
    context.refused::<RemoveVolume>(json!({ "name": name }), ErrorKind::NotFound).await;
    assert!(!context.must::<RemoveVolume>(json!({ "name": name, "missing_ok": true })).await.removed);
}

pub async fn networks(context: &ScenarioContext<'_>) {
    let name = context.name("net");
    context.note_network(&name);
    let made = context.must::<CreateNetwork>(json!({ "name": name })).await;
    assert!(made.created);
    assert_eq!(made.labels.get(labels::RUN).map(String::as_str), Some(context.run().as_str()));
    let again = context.must::<CreateNetwork>(json!({ "name": name })).await;
    assert_eq!((again.created, &again.id), (false, &made.id), "an existing network is not changed");
    let listed = context.must::<ListNetworks>(json!({ "name": name })).await;
    assert_eq!((listed.len(), &listed[0].labels), (1, &made.labels));
    let ours = json!({ "labels": { "deployer.run": context.run().as_str() } });
    assert!(context.must::<ListNetworks>(ours).await.iter().any(|network| network.name == name));
    assert!(
        context.must::<ListNetworks>(json!({ "name": context.name("ne") })).await.is_empty(),
        "a part of a name does not match"
    );
    let web = context.start("web", App::Web).await;
    let on = async || {
        let found = context.must::<InspectContainer>(json!({ "container": web.id })).await.unwrap();
        found.networks.contains_key(&name)
    };
    context.connect(&name, &web.id, false).await;
    context.connect(&name, &web.id, false).await;
    assert!(on().await);
    context.refused::<RemoveNetwork>(json!({ "name": name }), ErrorKind::Conflict).await;
    context.connect(&name, &web.id, true).await;
    context.connect(&name, &web.id, true).await;
    assert!(!on().await);
    let nowhere = json!({ "network": context.name("nowhere"), "container": web.id });
    context.refused::<ConnectNetwork>(nowhere, ErrorKind::NotFound).await;
    let missing = json!({ "network": name, "container": context.name("missing") });
    context.refused::<ConnectNetwork>(missing, ErrorKind::NotFound).await;
    let own = json!({ "name": name, "only_own": true });
    assert!(!context.ask_as::<RemoveNetwork>(&context.other_run(), own).await.unwrap().removed);
    let spec = json!({ "name": context.name("second"), "image": context.image(App::Web), "networks": [name] });
    assert!(context.must::<RunContainer>(spec).await.networks.contains_key(&name));
    context.must::<RemoveContainer>(json!({ "container": context.name("second"), "force": true })).await;
    assert!(context.must::<RemoveNetwork>(json!({ "name": name })).await.removed);
    context.refused::<RemoveNetwork>(json!({ "name": name }), ErrorKind::NotFound).await;
    assert!(!context.must::<RemoveNetwork>(json!({ "name": name, "missing_ok": true })).await.removed);
}

pub async fn ports(context: &ScenarioContext<'_>) {
    let port = context.port();
    assert!(context.must::<PortFree>(json!({ "port": port })).await.free);
    let ports = [format!("127.0.0.1:{port}:{APP_PORT}")];
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web), "ports": ports });
    context.must::<RunContainer>(spec).await;
    context.must::<WaitHealthy>(json!({ "container": context.name("web"), "path": "/", "timeout": "10s" })).await;
    let taken = context.must::<PortFree>(json!({ "port": port })).await;
    assert_eq!((taken.free, taken.container), (false, Some(context.name("web"))));
    context.must::<RemoveContainer>(json!({ "container": context.name("web"), "force": true })).await;
    assert!(context.must::<PortFree>(json!({ "port": port })).await.free);
    let spec = json!({
        "name": context.name("any"), "image": context.image(App::Web), "ports": [format!("127.0.0.1:0:{APP_PORT}")],
    });
    let chosen = context.must::<RunContainer>(spec).await.ports;
    assert!(chosen.len() == 1 && chosen[0].host_port > 0, "the engine chooses: {chosen:?}");
}
