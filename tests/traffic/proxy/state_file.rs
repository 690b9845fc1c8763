//! With a damaged state file, the proxy uses the previous copy or refuses to start, so it never answers 404 to
//! everyone.

use std::fs;

use super::fixture::{self, TestProxy};
use crate::support::async_http::{get, send};
use crate::support::target::TestTarget;

const DAMAGES: [&str; 4] = ["empty", "truncated", "changed", "gone"];

fn damage(path: &std::path::Path, how: &str) {
    let text = fs::read(path).unwrap();
    match how {
        "empty" => fs::write(path, ""),
        "truncated" => fs::write(path, &text[..text.len() / 2]),
        "changed" => {
            let changed = String::from_utf8(text).unwrap().replace("\"weight\":1", "\"weight\":7");
            fs::write(path, changed)
        }
        _ => fs::remove_file(path),
    }
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_copy_is_used_with_a_warning() {
    for how in DAMAGES {
        let mut proxy = TestProxy::start(&[]).await;
        let target = TestTarget::start("blue").await;
        proxy.serve(&[("blue", target.address, 1)]).await;
        proxy.switch("blue").await;
        proxy.kill();
        damage(&fixture::state_file(proxy.folder.path()), how);
        proxy.restart().await;
        assert_eq!(send(proxy.address, get("/")).await.unwrap().text, "blue", "{how}");
        let warnings = proxy.status().await.warnings;
        assert!(warnings.iter().any(|warning| warning.contains("PREVIOUS COPY")), "{how}: {warnings:?}");
        assert!(proxy.stderr().contains("PREVIOUS COPY"), "{how}: {}", proxy.stderr());
        proxy.switch("blue").await;
        proxy.kill();
        proxy.restart().await;
        assert_eq!(proxy.status().await.warnings.len(), 0, "{how}: no warning after the next save");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_copy_it_refuses_to_start() {
    for how in &DAMAGES[..3] {
        let mut proxy = TestProxy::start(&[]).await;
        let target = TestTarget::start("blue").await;
        proxy.serve(&[("blue", target.address, 1)]).await;
        proxy.kill();
        damage(&fixture::state_file(proxy.folder.path()), how);
        drop(fs::remove_file(proxy.folder.path().join("state.json.previous")));
        let status = fixture::command(proxy.folder.path(), &[]).spawn().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(2), "{how}");
        assert!(proxy.stderr().contains("is damaged"), "{how}: {}", proxy.stderr());
    }
}
