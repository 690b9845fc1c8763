//! Images: names, lists, removal.

use deployer::base::labels;
use deployer::effect::ErrorKind;
use deployer::effect::Outcome;
use deployer::effect::container::CreateContainer;
use deployer::effect::image::{Image, ImageOutcome, ListImages, RemoveImage, TagImage};
use serde_json::json;

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::App;

async fn find_images(context: &ScenarioContext<'_>, name: &str) -> Vec<Image> {
    context.must::<ListImages>(json!({ "name": name })).await
}

pub async fn tag_moves_a_name(context: &ScenarioContext<'_>) {
    let name = context.name("app:live");
    let (web, dies) = (context.image(App::Web), context.image(App::Dies));
    for image in [&web, &dies] {
        context.must::<TagImage>(json!({ "image": image, "tag": name })).await;
        let (by_name, original) = (find_images(context, &name).await, find_images(context, image).await);
        assert_eq!((by_name.len(), &by_name[0].id), (1, &original[0].id));
    }
    assert!(!find_images(context, &web).await[0].tags.contains(&name), "the tag was moved");
    let nothing = json!({ "image": context.name("nothing"), "tag": name });
    context.refused::<TagImage>(nothing, ErrorKind::NotFound).await;
}

pub async fn image_list_matches(context: &ScenarioContext<'_>) {
    let repository = context.name("app");
    for tag in ["one", "two"] {
        let image = context.image(App::Web);
        context.must::<TagImage>(json!({ "image": image, "tag": format!("{repository}:{tag}") })).await;
    }
    let found = find_images(context, &repository).await;
    assert_eq!(found.len(), 1, "one image with two names: {found:?}");
    for tag in ["one", "two"] {
        assert!(found[0].tags.contains(&format!("{repository}:{tag}")), "{:?}", found[0].tags);
    }
    assert_eq!(find_images(context, &format!("{repository}:one")).await[0].id, found[0].id, "by full name");
    assert_eq!(find_images(context, &found[0].id).await[0].id, found[0].id, "by id");
    assert!(find_images(context, &context.name("nothing")).await.is_empty());
    assert!(find_images(context, &format!("{repository}:three")).await.is_empty());
    let built = context.perform(&context.host.build(App::Web, &context.name("built:1")).into()).await.unwrap();
    let Outcome::Image(ImageOutcome::Build(built)) = built else { panic!("{built:?}") };
    assert_eq!(built.labels.get(labels::RUN).map(String::as_str), Some(context.run().as_str()));
    let run = json!({ "labels": { labels::RUN: context.run() } });
    let own: Vec<String> = context.must::<ListImages>(run).await.into_iter().map(|image| image.id).collect();
    assert_eq!(own, [built.id], "by label");
}

pub async fn image_remove(context: &ScenarioContext<'_>) {
    let (one, two) = (context.name("app:one"), context.name("app:two"));
    context.perform(&context.host.build(App::Web, &one).into()).await.unwrap();
    context.must::<TagImage>(json!({ "image": one, "tag": two })).await;
    assert!(context.must::<RemoveImage>(json!({ "image": one })).await.removed);
    assert!(find_images(context, &one).await.is_empty());
    let left = find_images(context, &two).await;
    assert_eq!((left.len(), left[0].tags.clone()), (1, vec![two.clone()]), "only the tag is removed");
    context.must::<CreateContainer>(json!({ "name": context.name("web"), "image": two })).await;
    context.refused::<RemoveImage>(json!({ "image": two }), ErrorKind::Conflict).await;
    context.refused::<RemoveImage>(json!({ "image": one }), ErrorKind::NotFound).await;
    assert!(!context.must::<RemoveImage>(json!({ "image": one, "missing_ok": true })).await.removed);
    let web = json!({ "container": context.name("web") });
    context.must::<deployer::effect::container::RemoveContainer>(web).await;
    assert!(context.must::<RemoveImage>(json!({ "image": two })).await.removed, "removed with its last tag");
    assert!(find_images(context, &two).await.is_empty());
}
