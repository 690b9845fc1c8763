//! Images: names, lists, removal.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::Outcome;
use deployer::effect::container::CreateContainer;
use deployer::effect::image::{Image, ImageOutcome, ListImages, RemoveImage, TagImage};
use serde_json::json;

use crate::host::App;
use crate::stage::Stage;

async fn named(stage: &Stage<'_>, name: &str) -> Vec<Image> {
    stage.must::<ListImages>(json!({ "name": name })).await
}

pub async fn tag_moves_a_name(stage: &Stage<'_>) {
    let name = stage.name("app:live");
    let (web, dies) = (stage.image(App::Web), stage.image(App::Dies));
    for image in [&web, &dies] {
        stage.must::<TagImage>(json!({ "image": image, "tag": name })).await;
        let (by_name, original) = (named(stage, &name).await, named(stage, image).await);
        assert_eq!((by_name.len(), &by_name[0].id), (1, &original[0].id));
    }
    assert!(!named(stage, &web).await[0].tags.contains(&name), "the name has moved");
    let nothing = json!({ "image": stage.name("nothing"), "tag": name });
    stage.refused::<TagImage>(nothing, ErrorKind::NotFound).await;
}

pub async fn images_are_found(stage: &Stage<'_>) {
    let repository = stage.name("app");
    for tag in ["one", "two"] {
        let image = stage.image(App::Web);
        stage.must::<TagImage>(json!({ "image": image, "tag": format!("{repository}:{tag}") })).await;
    }
    let found = named(stage, &repository).await;
    assert_eq!(found.len(), 1, "one image with two names: {found:?}");
    for tag in ["one", "two"] {
        assert!(found[0].tags.contains(&format!("{repository}:{tag}")), "{:?}", found[0].tags);
    }
    assert_eq!(named(stage, &format!("{repository}:one")).await[0].id, found[0].id, "by full name");
    assert_eq!(named(stage, &found[0].id).await[0].id, found[0].id, "by id");
    assert!(named(stage, &stage.name("nothing")).await.is_empty());
    assert!(named(stage, &format!("{repository}:three")).await.is_empty());
    let built = stage.perform(&stage.host.build(App::Web, &stage.name("built:1")).into()).await.unwrap();
    let Outcome::Image(ImageOutcome::Build(built)) = built else { panic!("{built:?}") };
    assert_eq!(built.labels.get(labels::RUN).map(String::as_str), Some(stage.run().as_str()));
    let run = json!({ "labels": { labels::RUN: stage.run() } });
    let own: Vec<String> = stage.must::<ListImages>(run).await.into_iter().map(|image| image.id).collect();
    assert_eq!(own, [built.id], "by label");
}

pub async fn image_remove(stage: &Stage<'_>) {
    let (one, two) = (stage.name("app:one"), stage.name("app:two"));
    stage.perform(&stage.host.build(App::Web, &one).into()).await.unwrap();
    stage.must::<TagImage>(json!({ "image": one, "tag": two })).await;
    assert!(stage.must::<RemoveImage>(json!({ "image": one })).await.removed);
    assert!(named(stage, &one).await.is_empty());
    let left = named(stage, &two).await;
    assert_eq!((left.len(), left[0].tags.clone()), (1, vec![two.clone()]), "only the name is taken away");
    stage.must::<CreateContainer>(json!({ "name": stage.name("web"), "image": two })).await;
    stage.refused::<RemoveImage>(json!({ "image": two }), ErrorKind::Conflict).await;
    stage.refused::<RemoveImage>(json!({ "image": one }), ErrorKind::NotFound).await;
    assert!(!stage.must::<RemoveImage>(json!({ "image": one, "missing_ok": true })).await.removed);
    let web = json!({ "container": stage.name("web") });
    stage.must::<deployer::effect::container::RemoveContainer>(web).await;
    assert!(stage.must::<RemoveImage>(json!({ "image": two })).await.removed, "with its last name");
    assert!(named(stage, &two).await.is_empty());
}
