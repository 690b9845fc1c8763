//! Networks and aliases.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::container::{ExecInContainer, RunContainer};
use deployer::effect::network::{ConnectNetwork, CreateNetwork, RemoveNetwork};
use serde_json::json;

use super::bench::{Bench, IMAGE, call_of, perform, random_run, refused, unchanged};

#[tokio::test]
async fn containers_find_each_other_by_alias() {
    let bench = Bench::new().await;
    let (one, two) = (bench.name("one"), bench.name("two"));
    for name in [&one, &two] {
        let made = bench.json::<CreateNetwork>(json!({"name": name, "labels": {"mine": "yes"}})).await.unwrap();
        assert!(made.created);
        assert_eq!((made.labels["mine"].as_str(), made.labels[labels::RUN].as_str()), ("yes", bench.call.run.as_str()));
        assert!(bench.json::<CreateNetwork>(json!({"name": name})).await.unwrap().created, "the same effect, again");
        let other: CreateNetwork = serde_json::from_value(json!({"name": name})).unwrap();
        assert!(!perform(&bench.world, &call_of(&random_run()), other).await.unwrap().created);
    }
    let run = |name: &str, networks: serde_json::Value, aliases: serde_json::Value| {
        let request = json!({
            "name": bench.name(name), "image": IMAGE, "command": ["sleep", "1000"], "networks": networks, "aliases": aliases,
        });
        bench.json::<RunContainer>(request)
    };
    let web = run("web", json!([one, two]), json!(["app"])).await.unwrap();
    assert_eq!(web.networks.keys().collect::<Vec<_>>(), [&one, &two]);
    run("left", json!([one]), json!([])).await.unwrap();
    run("right", json!([two]), json!([])).await.unwrap();
    run("plain", json!(["bridge"]), json!(["ignored"])).await.unwrap();
    let ping = async |from: &str, to: &str| {
        let request =
            json!({"container": bench.name(from), "command": ["ping", "-c", "1", "-W", "2", to], "check": false});
        bench.json::<ExecInContainer>(request).await.unwrap().exit_code == 0
    };
    assert!(ping("left", "app").await && ping("right", "app").await);

    let connect = json!({"network": one, "container": bench.name("right"), "aliases": ["friend"]});
    for _ in 0..2 {
        bench.json::<ConnectNetwork>(connect.clone()).await.unwrap();
    }
    assert!(ping("left", "friend").await);
    let disconnect = json!({"network": one, "container": bench.name("right"), "disconnect": true});
    for _ in 0..2 {
        bench.json::<ConnectNetwork>(disconnect.clone()).await.unwrap();
    }
    assert!(!bench.look("right").await.unwrap().networks.contains_key(&one));

    let error = refused(bench.json::<RemoveNetwork>(json!({"name": one})).await, ErrorKind::Conflict);
    unchanged(&error);
    assert!(error.message.contains(&bench.name("web")), "{error}");
    let missing = json!({"network": bench.name("none"), "container": bench.name("web")});
    unchanged(&refused(bench.json::<ConnectNetwork>(missing).await, ErrorKind::NotFound));
}

#[tokio::test]
async fn a_network_is_created_once_and_removed_by_its_run() {
    let bench = Bench::new().await;
    let name = bench.name("net");
    let calls: Vec<_> = (0..3).map(|_| call_of(&random_run())).chain([bench.call.clone()]).collect();
    let request: CreateNetwork = serde_json::from_value(json!({"name": name})).unwrap();
    let made =
        futures_util::future::join_all(calls.iter().map(|call| perform(&bench.world, call, request.clone()))).await;
    let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().filter(|network| network.created).count(), 1, "{made:?}");
    assert!(made.iter().all(|network| network.id == made[0].id), "{made:?}");
    let creator = &calls[made.iter().position(|network| network.created).unwrap()];

    let undo = json!({"name": name, "only_own": true, "missing_ok": true});
    let foreign: RemoveNetwork = serde_json::from_value(undo.clone()).unwrap();
    assert!(!perform(&bench.world, &call_of(&random_run()), foreign).await.unwrap().removed);
    let undo: RemoveNetwork = serde_json::from_value(undo).unwrap();
    assert!(perform(&bench.world, creator, undo.clone()).await.unwrap().removed);
    assert!(!perform(&bench.world, creator, undo).await.unwrap().removed);
    unchanged(&refused(bench.json::<RemoveNetwork>(json!({"name": name})).await, ErrorKind::NotFound));
}
