//! Routes through the embedded proxy: weights, switch, drain and hold.

use std::collections::BTreeMap;

use deployer::effect::ErrorKind;
use deployer::effect::health::WaitHealthy;
use deployer::effect::traffic::{
    DeclareRoute, DrainTarget, ForgetRoute, HoldTraffic, ListRoutes, ReadTrafficStats, ReleaseTraffic, RouteStatus,
    SetTargets, ShowRoute, SwitchTraffic,
};
use serde_json::{Value, json};

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::App;

fn route(context: &ScenarioContext<'_>) -> Value {
    let address = format!("127.0.0.1:{}", context.port());
    json!({ "service": context.name("shop"), "address": address, "driver": context.host.proxy() })
}

async fn start_healthy(context: &ScenarioContext<'_>, word: &str) -> Value {
    let container = context.start(word, App::Web).await;
    context.must::<WaitHealthy>(json!({ "container": container.id, "path": "/", "timeout": "10s" })).await;
    json!({ "container": context.name(word), "name": word })
}

fn with(target: &Value, weight: u32) -> Value {
    let mut target = target.clone();
    target["weight"] = weight.into();
    target
}

fn weights(status: &RouteStatus) -> BTreeMap<&str, u32> {
    status.view.targets.iter().map(|target| (target.name.as_str(), target.weight)).collect()
}

pub async fn routes(context: &ScenarioContext<'_>) {
    let service = context.name("shop");
    let of_shop = json!({ "service": service });
    context.refused::<ShowRoute>(of_shop.clone(), ErrorKind::NotFound).await;
    assert!(context.must::<ShowRoute>(json!({ "service": service, "missing_ok": true })).await.is_none());
    let route = route(context);
    let declared = context.must::<DeclareRoute>(route.clone()).await;
    assert!(declared.view.targets.is_empty());
    assert_eq!(declared.driver.kind(), "proxy");
    let (blue, green) = (start_healthy(context, "blue").await, start_healthy(context, "green").await);
    let targets = |targets: Vec<Value>| json!({ "service": service, "targets": targets });
    let missing = targets(vec![json!({ "container": context.name("missing") })]);
    context.refused::<SetTargets>(missing, ErrorKind::NotFound).await;
    context.refused::<SetTargets>(targets(vec![with(&blue, 0)]), ErrorKind::Invalid).await;
    let set = context.must::<SetTargets>(targets(vec![with(&blue, 1), with(&green, 0)])).await;
    assert_eq!(weights(&set), [("blue", 1), ("green", 0)].into());
    assert!(set.view.targets[0].served.is_some_and(|served| served > 0), "the new targets were probed: {set:?}");
    // Declaring the route again keeps its targets.
    let again = context.must::<DeclareRoute>(route).await;
    assert_eq!(weights(&again), weights(&set));
    let switched = context.must::<SwitchTraffic>(json!({ "service": service, "target": "green" })).await;
    assert_eq!(weights(&switched), [("blue", 0), ("green", 1)].into());
    let unknown_target = json!({ "service": service, "target": "red" });
    context.refused::<SwitchTraffic>(unknown_target.clone(), ErrorKind::NotFound).await;
    context.refused::<DrainTarget>(unknown_target, ErrorKind::NotFound).await;
    let live_target = json!({ "service": service, "target": "green" });
    context.refused::<DrainTarget>(live_target, ErrorKind::Conflict).await;
    let drained = context.must::<DrainTarget>(json!({ "service": service, "target": "blue", "deadline": "5s" })).await;
    assert_eq!((drained.requests_cut, drained.streams_cut), (0, 0));
    let shown = context.must::<ShowRoute>(of_shop.clone()).await.unwrap();
    let draining: Vec<bool> = shown.view.targets.iter().map(|target| target.draining).collect();
    assert_eq!(draining, [true, false]);
    // Routes that refer to a container.
    let refers = async |word: &str| {
        let listed = context.must::<ListRoutes>(json!({ "container": context.name(word) })).await;
        listed.into_iter().map(|route| route.service).collect::<Vec<_>>()
    };
    assert_eq!(refers("blue").await, std::slice::from_ref(&service));
    context.must::<SetTargets>(targets(vec![with(&green, 1)])).await;
    assert!(refers("blue").await.is_empty());
    assert_eq!(refers("green").await, std::slice::from_ref(&service));
    let stats = context.must::<ReadTrafficStats>(json!({ "service": service, "window": "1m" })).await;
    assert!(stats.targets.contains_key("green"));
    assert!(context.must::<ForgetRoute>(of_shop.clone()).await.removed);
    context.refused::<ForgetRoute>(of_shop.clone(), ErrorKind::NotFound).await;
    assert!(!context.must::<ForgetRoute>(json!({ "service": service, "missing_ok": true })).await.removed);
    context.refused::<SetTargets>(targets(vec![with(&green, 1)]), ErrorKind::NotFound).await;
}

pub async fn holds(context: &ScenarioContext<'_>) {
    let of_shop = json!({ "service": context.name("shop") });
    context.must::<DeclareRoute>(route(context)).await;
    let blue = start_healthy(context, "blue").await;
    context.must::<SetTargets>(json!({ "service": context.name("shop"), "targets": [blue] })).await;
    let held = context.must::<HoldTraffic>(json!({ "service": context.name("shop"), "max_wait": "20s" })).await;
    assert_eq!(held.view.held, Some(0));
    // While traffic is held, even the only target may be drained.
    context.must::<DrainTarget>(json!({ "service": context.name("shop"), "target": "blue" })).await;
    let set = context.must::<SetTargets>(json!({ "service": context.name("shop"), "targets": [blue] })).await;
    assert!(!set.view.targets[0].draining);
    let released = context.must::<ReleaseTraffic>(of_shop.clone()).await;
    assert_eq!((released.waiting, released.turned_away), (0, 0));
    assert_eq!(context.must::<ShowRoute>(of_shop.clone()).await.unwrap().view.held, None);
    context.must::<ForgetRoute>(of_shop).await;
}

pub async fn unhealthy_target_is_refused(context: &ScenarioContext<'_>) {
    let service = context.name("shop");
    context.must::<DeclareRoute>(route(context)).await;
    context.start("broken", App::Broken).await;
    let broken = json!({ "service": service, "targets": [{ "container": context.name("broken") }] });
    context.refused::<SetTargets>(broken, ErrorKind::Unhealthy).await;
    let blue = start_healthy(context, "blue").await;
    context.must::<SetTargets>(json!({ "service": service, "targets": [blue] })).await;
    context.must::<ForgetRoute>(json!({ "service": service })).await;
}
