//! Roles and garbage, on made-up engines.

use std::collections::BTreeMap;

use serde_json::json;

use super::garbage::{Garbage, Terms};
use super::service_status::{Role, ServiceStatuses, roles};
use super::*;

const SERVICE: &str = "web";

/// A container of the service: its name, its state, the host port it asks for, the effect that made it.
fn container(name: &str, state: &str, port: u16, effect: &str) -> Container {
    serde_json::from_value(json!({
        "id": format!("id-{name}"), "name": name, "image": "web:v1", "image_id": "sha256:1", "state": state,
        "created_at": "2026-01-01T00:00:00Z",
        "ports": [{"address": "0.0.0.0", "host_port": port, "container_port": 80, "protocol": "tcp"}],
        "labels": {"deployer.service": SERVICE, "deployer.run": "1111111111", "deployer.effect": effect}
    }))
    .unwrap()
}

fn image(id: &str, tags: &[&str], built: bool, created_at: &str) -> Image {
    let mut labels = BTreeMap::from([("deployer.effect".to_owned(), format!("1111111111/{id}"))]);
    labels.insert("deployer.image".into(), tags.first().map_or("web:gone".into(), |tag| (*tag).to_owned()));
    Image {
        id: format!("sha256:{id}"),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        created_at: Some(created_at.into()),
        size: 1,
        built_by: built.then(|| format!("1111111111/{id}")),
        labels,
    }
}

fn inventory(containers: Vec<Container>, images: Vec<Image>) -> Inventory {
    let inherited = images.iter().map(|image| (image.id.clone(), image.labels.get(labels::EFFECT).cloned())).collect();
    Inventory { containers, images, inherited, ..Inventory::default() }
}

fn terms() -> Terms {
    Terms { service: None, before_ms: None, keep: 1, volumes: false }
}

#[test]
fn the_container_with_the_public_port_is_live_whatever_its_name() {
    // Interrupted between the start of the next version and its renaming.
    let (blue, next) = (container("web", "exited", 80, "a/1"), container("web-next", "running", 80, "a/2"));
    let green = container("web-green", "running", 81, "a/3");
    let found = roles(SERVICE, &[&blue, &next, &green], false, None);
    let role = |name: &str| found.iter().find(|(_, container)| container.name == name).unwrap().0;
    assert_eq!((role("web"), role("web-next"), role("web-green")), (Role::Old, Role::Live, Role::LeftOver));
    // Interrupted before: blue serves.
    let (blue, next) = (container("web", "running", 80, "a/1"), container("web-next", "created", 80, "a/2"));
    let found = roles(SERVICE, &[&blue, &next], false, None);
    assert_eq!([found[0].0, found[1].0], [Role::Live, Role::LeftOver]);
    assert_eq!(roles(SERVICE, &[&blue, &next], true, None)[1].0, Role::Candidate, "while the run is under way");
}

#[test]
fn what_is_started_by_hand_from_an_image_of_ours_is_not_ours() {
    let built = image("1", &["web:v1"], true, "2026-01-01T00:00:00Z");
    let inherited = container("web-green", "running", 81, "1111111111/1");
    let inventory = inventory(vec![container("web", "running", 80, "a/1"), inherited], vec![built]);
    let own: Vec<&str> = inventory.own_containers().map(|(container, _)| container.name.as_str()).collect();
    assert_eq!(own, ["web"]);
    assert!(Garbage::of(&inventory, &[], &terms()).items.is_empty());
}

#[test]
fn a_service_that_is_down_needs_attention_and_is_kept() {
    let inventory = inventory(
        vec![container("web", "exited", 80, "a/1")],
        vec![image("1", &["web:v1"], true, "2026-01-01T00:00:00Z")],
    );
    let statuses = ServiceStatuses::of(&inventory, &[], "sim", "here", None);
    assert!(!statuses.well);
    assert_eq!(statuses.services[0].attention, ["no live container: `web` has exited"]);
    assert!(Garbage::of(&inventory, &[], &Terms { keep: 0, ..terms() }).items.is_empty());
}

#[test]
fn old_images_go_except_the_previous_release_and_names_given_by_hand() {
    let images = vec![
        image("1", &["web:v5"], true, "2026-01-05T00:00:00Z"),
        image("2", &["web:v4", "web:rollback"], true, "2026-01-04T00:00:00Z"),
        image("3", &["web:v3"], true, "2026-01-03T00:00:00Z"),
        image("4", &["web:v2", "mine:1"], true, "2026-01-02T00:00:00Z"),
        image("5", &["web:v1"], false, "2026-01-01T00:00:00Z"),
        image("6", &[], true, "2026-01-01T00:00:00Z"),
    ];
    let inventory = inventory(vec![container("web", "running", 80, "a/1")], images);
    let names = |terms: &Terms, open: &[UnfinishedRun]| -> Vec<String> {
        Garbage::of(&inventory, open, terms).items.into_iter().map(|item| item.keys.join(" ")).collect()
    };
    assert_eq!(names(&terms(), &[]), ["sha256:6", "web:v3"]);
    assert_eq!(names(&Terms { keep: 0, ..terms() }, &[]), ["sha256:6", "web:v3", "web:v4 web:rollback"]);
    let killed = UnfinishedRun {
        run: "0123456789".parse().unwrap(),
        service: Some(SERVICE.into()),
        state: UnfinishedState::Killed,
        state_flags: String::new(),
    };
    assert!(names(&terms(), std::slice::from_ref(&killed)).is_empty(), "an unfinished run may need them");
    let left = Garbage::of(&inventory, &[killed], &terms()).left_alone;
    assert!(left[0].contains("deployer abort 0123456789"), "{left:?}");
}
