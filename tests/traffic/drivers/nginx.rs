//! nginx: deployer writes one file, tests it and reloads; if that fails, everything stays as it was.

use std::fs;

use deployer::effect::{Applied, ErrorKind};
use serde_json::json;

use super::fixture::{DriverFixture, step};
use crate::support::route_program::Kind;
use crate::support::target::TestTarget;

const FILE: &str = "conf.d/deployer-web.conf";

fn files(fixture: &DriverFixture) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixture.program.path("conf.d"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_fails_its_test_is_restored() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Nginx, &[("blue", &blue, 1)]).await;
    let before = fs::read_to_string(fixture.program.path(FILE)).unwrap();
    // An invalid file of another program.
    let invalid = fixture.program.path("conf.d/other.conf");
    fs::write(&invalid, "server { listen 127.0.0.1:1").unwrap();
    let error = fixture.refused("traffic_set", step(&[("green", &green, 1)])).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Failed, Applied::No), "{error}");
    assert!(error.detail.as_ref().unwrap().contains("other.conf"), "{error:?}");
    assert_eq!(fs::read_to_string(fixture.program.path(FILE)).unwrap(), before);
    assert_eq!(files(&fixture), ["deployer-web.conf", "other.conf"]);
    assert_eq!(fixture.answer().await, "blue");
    assert_eq!(fixture.weights().await, [("blue".to_owned(), 1)]);
    fs::remove_file(invalid).unwrap();
    fixture.set(&[("green", &green, 1)]).await.unwrap();
    assert_eq!(fixture.answer().await, "green");
    fixture.forget().await;
    assert_eq!(files(&fixture), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_fails_or_has_no_effect_is_restored() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Nginx, &[("blue", &blue, 1)]).await;
    let before = fs::read_to_string(fixture.program.path(FILE)).unwrap();
    for reload in ["false", "true"] {
        let mut route = fixture.route();
        route["driver"]["reload"] = json!([reload]);
        // The file stays the same, so nothing is reloaded yet.
        fixture.done("traffic_route", route).await;
        let error = fixture.refused("traffic_set", step(&[("green", &green, 1)])).await;
        assert_eq!(error.kind, ErrorKind::Failed, "{error}");
        assert_eq!(fs::read_to_string(fixture.program.path(FILE)).unwrap(), before, "{reload}");
        assert_eq!(files(&fixture), ["deployer-web.conf"], "{reload}");
        assert_eq!(fixture.answer().await, "blue");
    }
    fixture.done("traffic_route", fixture.route()).await;
    fixture.set(&[("green", &green, 1)]).await.unwrap();
    assert_eq!(fixture.answer().await, "green");
    assert_eq!(files(&fixture), ["deployer-web.conf"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_share_an_address_by_host_and_not_by_path() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Nginx, &[("blue", &blue, 1)]).await;
    let mut other = fixture.route();
    other["service"] = json!("shop");
    other["driver"]["include"] = json!(fixture.program.path_text("conf.d/deployer-shop.conf"));
    other["path_prefix"] = json!("/shop");
    let error = fixture.refused("traffic_route", other.clone()).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Conflict, Applied::No), "{error}");
    assert_eq!(files(&fixture), ["deployer-web.conf"]);
    other["host"] = json!("shop.test");
    fixture.done("traffic_route", other.clone()).await;
    let mut targets = step(&[("green", &green, 1)]);
    targets["service"] = json!("shop");
    fixture.done("traffic_set", targets).await;
    let fetch = |path: &'static str, host: &'static str| {
        let request =
            crate::support::async_http::request(http::Method::GET, path, &[("host", host)], bytes::Bytes::new());
        crate::support::async_http::send(fixture.address(), request)
    };
    assert_eq!(fetch("/", "any.test").await.unwrap().text, "blue");
    assert_eq!(fetch("/shop", "shop.test").await.unwrap().text, "green");
    assert_eq!(fetch("/shop/cart", "shop.test").await.unwrap().text, "green");
    assert_eq!(fetch("/shopping", "shop.test").await.unwrap().status, 404);
    // Deployer does not overwrite a file that it did not write.
    let foreign = fixture.program.path("conf.d/own.conf");
    fs::write(&foreign, "# my own\n").unwrap();
    other["service"] = json!("third");
    other["driver"]["include"] = json!(foreign);
    assert_eq!(fixture.kind_of_refusal("traffic_route", other).await, ErrorKind::Conflict);
    assert_eq!(fs::read_to_string(foreign).unwrap(), "# my own\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_target_falls_back_to_the_warm_one() {
    let (blue, green) = (TestTarget::start("blue").await, TestTarget::start("green").await);
    let fixture = DriverFixture::serving(Kind::Nginx, &[("blue", &blue, 1), ("green", &green, 0)]).await;
    blue.kill().await;
    for _ in 0..20 {
        assert_eq!(fixture.answer().await, "green");
    }
}
