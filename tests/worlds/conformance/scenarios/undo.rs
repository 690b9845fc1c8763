//! The undo of every effect must restore the visible prior state, even if it is performed twice.

use deployer::effect::container::{
    CreateContainer, InspectContainer, KillContainer, RenameContainer, RunContainer, StartContainer, StopContainer,
    WaitContainer,
};
use deployer::effect::image::{BuildImage, RemoveImage, TagImage};
use deployer::effect::network::{ConnectNetwork, CreateNetwork, RemoveNetwork};
use deployer::effect::volume::CreateVolume;
use deployer::effect::{Effect, Request, Undo};
use serde_json::{Value, json};

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::App;

fn effect<R: Request>(args: Value) -> Effect {
    serde_json::from_value::<R>(args).unwrap().into()
}

/// Reads the prior state, performs the effect and its undo, and compares.
async fn undo_after_effect(context: &ScenarioContext<'_>, effect: Effect) {
    let before = context.visible_state().await;
    let prior = match effect.spec().prior() {
        Some(question) => Some(context.perform(&question).await.unwrap()),
        None => None,
    };
    context.perform(&effect).await.unwrap_or_else(|error| panic!("{}: {error:?}", effect.kind()));
    assert_ne!(context.visible_state().await, before, "`{}` must change something", effect.kind());
    let undo = match effect.spec().undo(prior.as_ref()) {
        Undo::Effect(undo) => *undo,
        other => panic!("`{}` has no undo: {other:?}", effect.kind()),
    };
    for time in ["first", "second"] {
        context.perform(&undo).await.unwrap_or_else(|error| panic!("{} {time}: {error:?}", undo.kind()));
        assert_eq!(context.visible_state().await, before, "`{}` must be undone (the {time} time)", effect.kind());
    }
}

/// The undo of an effect that changed nothing must succeed and change nothing.
async fn undo_without_effect(context: &ScenarioContext<'_>, effect: Effect) {
    let before = context.visible_state().await;
    let prior = match effect.spec().prior() {
        Some(question) => Some(context.perform(&question).await.unwrap()),
        None => None,
    };
    if let Undo::Effect(undo) = effect.spec().undo(prior.as_ref()) {
        context.perform(&undo).await.unwrap_or_else(|error| panic!("{} without effect: {error:?}", undo.kind()));
    }
    assert_eq!(context.visible_state().await, before, "the undo of `{}` must change nothing", effect.kind());
}

pub async fn run(context: &ScenarioContext<'_>) {
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web) });
    undo_without_effect(context, effect::<RunContainer>(spec.clone())).await;
    undo_after_effect(context, effect::<RunContainer>(spec)).await;
}

pub async fn create(context: &ScenarioContext<'_>) {
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web) });
    undo_after_effect(context, effect::<CreateContainer>(spec)).await;
}

pub async fn start(context: &ScenarioContext<'_>) {
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web) });
    context.must::<CreateContainer>(spec).await;
    undo_after_effect(context, effect::<StartContainer>(json!({ "container": context.name("web") }))).await;
}

pub async fn stop(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    undo_after_effect(context, effect::<StopContainer>(json!({ "container": context.name("web") }))).await;
}

pub async fn kill(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    let kill = effect::<KillContainer>(json!({ "container": context.name("web") }));
    let prior = context.perform(&kill.spec().prior().unwrap()).await.unwrap();
    context.perform(&kill).await.unwrap();
    context.must::<WaitContainer>(json!({ "container": context.name("web"), "timeout": "10s" })).await;
    let Undo::Effect(undo) = kill.spec().undo(Some(&prior)) else { panic!("no undo") };
    context.perform(&undo).await.unwrap();
    let web = json!({ "container": context.name("web") });
    assert!(context.must::<InspectContainer>(web).await.unwrap().is_running());
}

/// A signal is undone before the container has exited.
pub async fn kill_at_once(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    let web = json!({ "container": context.name("web") });
    let kill = effect::<KillContainer>(json!({ "container": context.name("web"), "signal": "SIGTERM" }));
    let prior = context.perform(&kill.spec().prior().unwrap()).await.unwrap();
    context.perform(&kill).await.unwrap();
    let Undo::Effect(undo) = kill.spec().undo(Some(&prior)) else { panic!("no undo") };
    context.perform(&undo).await.unwrap();
    let late = json!({ "container": context.name("web"), "timeout": "500ms" });
    context.refused::<WaitContainer>(late, deployer::effect::ErrorKind::Timeout).await;
    assert!(context.must::<InspectContainer>(web).await.unwrap().is_running());
}

pub async fn rename_back(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    let rename = json!({ "container": context.name("web"), "name": context.name("new") });
    undo_without_effect(context, effect::<RenameContainer>(rename.clone())).await;
    undo_after_effect(context, effect::<RenameContainer>(rename)).await;
}

pub async fn tag(context: &ScenarioContext<'_>) {
    let tag = json!({ "image": context.image(App::Web), "tag": context.name("app:live") });
    undo_without_effect(context, effect::<TagImage>(tag.clone())).await;
    undo_after_effect(context, effect::<TagImage>(tag)).await;
}

pub async fn tag_of_another(context: &ScenarioContext<'_>) {
    let name = context.name("app:live");
    context.must::<TagImage>(json!({ "image": context.image(App::Web), "tag": name })).await;
    undo_after_effect(context, effect::<TagImage>(json!({ "image": context.image(App::Dies), "tag": name }))).await;
}

pub async fn build(context: &ScenarioContext<'_>) {
    let request: BuildImage = context.host.build(App::Dies, &context.name("app:built"));
    undo_after_effect(context, request.clone().into()).await;
    context.must::<TagImage>(json!({ "image": context.image(App::Web), "tag": request.tag })).await;
    undo_after_effect(context, request.into()).await;
}

pub async fn image_name(context: &ScenarioContext<'_>) {
    let name = context.name("app:spare");
    context.must::<TagImage>(json!({ "image": context.image(App::Web), "tag": name })).await;
    undo_after_effect(context, effect::<RemoveImage>(json!({ "image": name }))).await;
}

pub async fn volume(context: &ScenarioContext<'_>) {
    undo_after_effect(context, effect::<CreateVolume>(json!({ "name": context.name("data") }))).await;
}

pub async fn network(context: &ScenarioContext<'_>) {
    let name = context.name("net");
    context.note_network(&name);
    let create = effect::<CreateNetwork>(json!({ "name": name }));
    context.perform(&create).await.unwrap();
    context.start("web", App::Web).await;
    undo_after_effect(context, effect::<ConnectNetwork>(json!({ "network": name, "container": context.name("web") })))
        .await;
    let Undo::Effect(undo) = create.spec().undo(None) else { panic!("no undo") };
    context.perform(&undo).await.unwrap();
    assert!(
        !context.must::<RemoveNetwork>(json!({ "name": name, "missing_ok": true })).await.removed,
        "the undo has removed the network"
    );
}

pub async fn only_own_is_removed(context: &ScenarioContext<'_>) {
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web) });
    context.ask_as::<RunContainer>(&context.other_run(), spec.clone()).await.unwrap();
    context.ask_as::<CreateVolume>(&context.other_run(), json!({ "name": context.name("data") })).await.unwrap();
    undo_without_effect(context, effect::<RunContainer>(spec)).await;
    undo_without_effect(context, effect::<CreateVolume>(json!({ "name": context.name("data") }))).await;
}
