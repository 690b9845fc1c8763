//! A state file that is damaged never makes a proxy that answers 404 to everybody.

use std::fs;

use super::rig::{self, Rig};
use super::target::TestTarget;
use super::visit::{get, visit};

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
async fn the_copy_before_is_used_and_said_so() {
    for how in DAMAGES {
        let mut rig = Rig::start(&[]).await;
        let target = TestTarget::start("blue").await;
        rig.serve(&[("blue", target.address, 1)]).await;
        rig.switch("blue").await;
        rig.kill();
        damage(&rig::state_file(rig.folder.path()), how);
        rig.restart().await;
        assert_eq!(visit(rig.address, get("/")).await.unwrap().text, "blue", "{how}");
        let warnings = rig.status().await.warnings;
        assert!(warnings.iter().any(|warning| warning.contains("COPY BEFORE")), "{how}: {warnings:?}");
        assert!(rig.talk().contains("COPY BEFORE"), "{how}: {}", rig.talk());
        rig.switch("blue").await;
        rig.kill();
        rig.restart().await;
        assert_eq!(rig.status().await.warnings.len(), 0, "{how}: mended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_copy_it_refuses_to_start() {
    for how in &DAMAGES[..3] {
        let mut rig = Rig::start(&[]).await;
        let target = TestTarget::start("blue").await;
        rig.serve(&[("blue", target.address, 1)]).await;
        rig.kill();
        damage(&rig::state_file(rig.folder.path()), how);
        drop(fs::remove_file(rig.folder.path().join("state.json.previous")));
        let status = rig::command(rig.folder.path(), &[]).spawn().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(2), "{how}");
        assert!(rig.talk().contains("is damaged"), "{how}: {}", rig.talk());
    }
}
