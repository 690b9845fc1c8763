//! nginx: one file of ours, tested and reloaded, or all as it was.

use std::fs;

use deployer::effect::{Applied, ErrorKind};
use serde_json::json;

use super::program::Kind;
use super::rig::{Rig, step};
use super::target::TestTarget;

const FILE: &str = "conf.d/deployer-web.conf";

fn files(rig: &Rig) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(rig.program.path("conf.d"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_fails_its_test_is_taken_back() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Nginx, &[("blue", &blue, 1)]).await;
    let before = fs::read_to_string(rig.program.path(FILE)).unwrap();
    // Somebody else's half-written file.
    let strange = rig.program.path("conf.d/other.conf");
    fs::write(&strange, "server { listen 127.0.0.1:1").unwrap();
    let error = rig.refused("traffic_set", step(&[("green", &green, 1)])).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Failed, Applied::No), "{error}");
    assert!(error.detail.as_ref().unwrap().contains("other.conf"), "{error:?}");
    assert_eq!(fs::read_to_string(rig.program.path(FILE)).unwrap(), before);
    assert_eq!(files(&rig), ["deployer-web.conf", "other.conf"]);
    assert_eq!(rig.answer().await, "blue");
    assert_eq!(rig.weights().await, [("blue".to_owned(), 1)]);
    fs::remove_file(strange).unwrap();
    rig.set(&[("green", &green, 1)]).await.unwrap();
    assert_eq!(rig.answer().await, "green");
    rig.forget().await;
    assert_eq!(files(&rig), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_fails_or_does_nothing_is_taken_back() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Nginx, &[("blue", &blue, 1)]).await;
    let before = fs::read_to_string(rig.program.path(FILE)).unwrap();
    for reload in ["false", "true"] {
        let mut route = rig.route();
        route["driver"]["reload"] = json!([reload]);
        // What nginx reads stays the same, so that nothing is reloaded yet.
        rig.done("traffic_route", route).await;
        let error = rig.refused("traffic_set", step(&[("green", &green, 1)])).await;
        assert_eq!(error.kind, ErrorKind::Failed, "{error}");
        assert_eq!(fs::read_to_string(rig.program.path(FILE)).unwrap(), before, "{reload}");
        assert_eq!(files(&rig), ["deployer-web.conf"], "{reload}");
        assert_eq!(rig.answer().await, "blue");
    }
    rig.done("traffic_route", rig.route()).await;
    rig.set(&[("green", &green, 1)]).await.unwrap();
    assert_eq!(rig.answer().await, "green");
    assert_eq!(files(&rig), ["deployer-web.conf"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_share_an_address_by_host_and_not_by_path() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Nginx, &[("blue", &blue, 1)]).await;
    let mut other = rig.route();
    other["service"] = json!("shop");
    other["driver"]["include"] = json!(rig.program.at("conf.d/deployer-shop.conf"));
    other["path_prefix"] = json!("/shop");
    let error = rig.refused("traffic_route", other.clone()).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Conflict, Applied::No), "{error}");
    assert_eq!(files(&rig), ["deployer-web.conf"]);
    other["host"] = json!("shop.test");
    rig.done("traffic_route", other.clone()).await;
    let mut targets = step(&[("green", &green, 1)]);
    targets["service"] = json!("shop");
    rig.done("traffic_set", targets).await;
    let ask = |path: &'static str, host: &'static str| {
        let request = super::visit::request(http::Method::GET, path, &[("host", host)], bytes::Bytes::new());
        super::visit::visit(rig.address(), request)
    };
    assert_eq!(ask("/", "any.test").await.unwrap().text, "blue");
    assert_eq!(ask("/shop", "shop.test").await.unwrap().text, "green");
    assert_eq!(ask("/shop/cart", "shop.test").await.unwrap().text, "green");
    assert_eq!(ask("/shopping", "shop.test").await.unwrap().status, 404);
    // Somebody else's file is nobody's to write.
    let foreign = rig.program.path("conf.d/own.conf");
    fs::write(&foreign, "# my own\n").unwrap();
    other["service"] = json!("third");
    other["driver"]["include"] = json!(foreign);
    assert_eq!(rig.kind_of_refusal("traffic_route", other).await, ErrorKind::Conflict);
    assert_eq!(fs::read_to_string(foreign).unwrap(), "# my own\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_target_falls_back_to_the_warm_one() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let rig = Rig::serving(Kind::Nginx, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    blue.die().await;
    for _ in 0..20 {
        assert_eq!(rig.answer().await, "green");
    }
}
