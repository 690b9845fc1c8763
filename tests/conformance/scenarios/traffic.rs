//! Routes, driven by the embedded proxy: who gets the requests, and who may be asked to stop.

use std::collections::BTreeMap;

use deployer::effect::ErrorKind;
use deployer::effect::health::WaitHealthy;
use deployer::effect::traffic::{
    AskStats, DeclareRoute, DrainTarget, ForgetRoute, HoldTraffic, ListRoutes, ReleaseTraffic, SetTargets, ShowRoute,
    Standing, SwitchTraffic,
};
use serde_json::{Value, json};

use crate::host::App;
use crate::stage::Stage;

fn route(stage: &Stage<'_>) -> Value {
    let address = format!("127.0.0.1:{}", stage.port());
    json!({ "service": stage.name("shop"), "address": address, "driver": stage.host.proxy() })
}

async fn started(stage: &Stage<'_>, word: &str) -> Value {
    let container = stage.start(word, App::Web).await;
    stage.must::<WaitHealthy>(json!({ "container": container.id, "path": "/", "timeout": "10s" })).await;
    json!({ "container": stage.name(word), "name": word })
}

fn with(target: &Value, weight: u32) -> Value {
    let mut target = target.clone();
    target["weight"] = weight.into();
    target
}

fn weights(standing: &Standing) -> BTreeMap<&str, u32> {
    standing.view.targets.iter().map(|target| (target.name.as_str(), target.weight)).collect()
}

pub async fn routes(stage: &Stage<'_>) {
    let service = stage.name("shop");
    let of_shop = json!({ "service": service });
    stage.refused::<ShowRoute>(of_shop.clone(), ErrorKind::NotFound).await;
    assert!(stage.must::<ShowRoute>(json!({ "service": service, "missing_ok": true })).await.is_none());
    let route = route(stage);
    let declared = stage.must::<DeclareRoute>(route.clone()).await;
    assert!(declared.view.targets.is_empty());
    assert_eq!(declared.driver.kind(), "proxy");
    let (blue, green) = (started(stage, "blue").await, started(stage, "green").await);
    let targets = |targets: Vec<Value>| json!({ "service": service, "targets": targets });
    let nobody = targets(vec![json!({ "container": stage.name("nobody") })]);
    stage.refused::<SetTargets>(nobody, ErrorKind::NotFound).await;
    stage.refused::<SetTargets>(targets(vec![with(&blue, 0)]), ErrorKind::Invalid).await;
    let set = stage.must::<SetTargets>(targets(vec![with(&blue, 1), with(&green, 0)])).await;
    assert_eq!(weights(&set), [("blue", 1), ("green", 0)].into());
    assert!(set.view.targets[0].served.is_some_and(|served| served > 0), "it was asked: {set:?}");
    // Declared again, with its targets.
    let again = stage.must::<DeclareRoute>(route).await;
    assert_eq!(weights(&again), weights(&set));
    let switched = stage.must::<SwitchTraffic>(json!({ "service": service, "target": "green" })).await;
    assert_eq!(weights(&switched), [("blue", 0), ("green", 1)].into());
    let lost = json!({ "service": service, "target": "red" });
    stage.refused::<SwitchTraffic>(lost.clone(), ErrorKind::NotFound).await;
    stage.refused::<DrainTarget>(lost, ErrorKind::NotFound).await;
    let only = json!({ "service": service, "target": "green" });
    stage.refused::<DrainTarget>(only, ErrorKind::Conflict).await;
    let drained = stage.must::<DrainTarget>(json!({ "service": service, "target": "blue", "deadline": "5s" })).await;
    assert_eq!((drained.requests_cut, drained.streams_cut), (0, 0));
    let shown = stage.must::<ShowRoute>(of_shop.clone()).await.unwrap();
    let draining: Vec<bool> = shown.view.targets.iter().map(|target| target.draining).collect();
    assert_eq!(draining, [true, false]);
    // Who refers to a container.
    let refers = async |word: &str| {
        let listed = stage.must::<ListRoutes>(json!({ "container": stage.name(word) })).await;
        listed.into_iter().map(|route| route.service).collect::<Vec<_>>()
    };
    assert_eq!(refers("blue").await, std::slice::from_ref(&service));
    stage.must::<SetTargets>(targets(vec![with(&green, 1)])).await;
    assert!(refers("blue").await.is_empty());
    assert_eq!(refers("green").await, std::slice::from_ref(&service));
    let stats = stage.must::<AskStats>(json!({ "service": service, "window": "1m" })).await;
    assert!(stats.targets.contains_key("green"));
    assert!(stage.must::<ForgetRoute>(of_shop.clone()).await.removed);
    stage.refused::<ForgetRoute>(of_shop.clone(), ErrorKind::NotFound).await;
    assert!(!stage.must::<ForgetRoute>(json!({ "service": service, "missing_ok": true })).await.removed);
    stage.refused::<SetTargets>(targets(vec![with(&green, 1)]), ErrorKind::NotFound).await;
}

pub async fn holds(stage: &Stage<'_>) {
    let of_shop = json!({ "service": stage.name("shop") });
    stage.must::<DeclareRoute>(route(stage)).await;
    let blue = started(stage, "blue").await;
    stage.must::<SetTargets>(json!({ "service": stage.name("shop"), "targets": [blue] })).await;
    let held = stage.must::<HoldTraffic>(json!({ "service": stage.name("shop"), "max_wait": "20s" })).await;
    assert_eq!(held.view.held, Some(0));
    // A target that gets nothing for the time being may be drained, though it is the only one.
    stage.must::<DrainTarget>(json!({ "service": stage.name("shop"), "target": "blue" })).await;
    let set = stage.must::<SetTargets>(json!({ "service": stage.name("shop"), "targets": [blue] })).await;
    assert!(!set.view.targets[0].draining);
    let released = stage.must::<ReleaseTraffic>(of_shop.clone()).await;
    assert_eq!((released.waiting, released.turned_away), (0, 0));
    assert_eq!(stage.must::<ShowRoute>(of_shop.clone()).await.unwrap().view.held, None);
    stage.must::<ForgetRoute>(of_shop).await;
}

pub async fn an_unwell_target_is_no_success(stage: &Stage<'_>) {
    let service = stage.name("shop");
    stage.must::<DeclareRoute>(route(stage)).await;
    stage.start("broken", App::Broken).await;
    let broken = json!({ "service": service, "targets": [{ "container": stage.name("broken") }] });
    stage.refused::<SetTargets>(broken, ErrorKind::Unhealthy).await;
    let blue = started(stage, "blue").await;
    stage.must::<SetTargets>(json!({ "service": service, "targets": [blue] })).await;
    stage.must::<ForgetRoute>(json!({ "service": service })).await;
}
