//! What the undo of every effect must do: bring back what could be seen before, also when it is asked twice.

use deployer::effect::container::{
    CreateContainer, InspectContainer, KillContainer, RenameContainer, RunContainer, StartContainer, StopContainer,
    WaitContainer,
};
use deployer::effect::image::{BuildImage, RemoveImage, TagImage};
use deployer::effect::network::{ConnectNetwork, CreateNetwork, RemoveNetwork};
use deployer::effect::volume::CreateVolume;
use deployer::effect::{Effect, Request, Undo};
use serde_json::{Value, json};

use crate::host::App;
use crate::stage::Stage;

fn effect<R: Request>(args: Value) -> Effect {
    serde_json::from_value::<R>(args).unwrap().into()
}

/// Asks for the state before, does it, takes it back, and compares.
async fn take_back(stage: &Stage<'_>, effect: Effect) {
    let before = stage.sight().await;
    let prior = match effect.facts().prior() {
        Some(question) => Some(stage.perform(&question).await.unwrap()),
        None => None,
    };
    stage.perform(&effect).await.unwrap_or_else(|error| panic!("{}: {error:?}", effect.kind()));
    assert_ne!(stage.sight().await, before, "`{}` changes something", effect.kind());
    let undo = match effect.facts().undo(prior.as_ref()) {
        Undo::Effect(undo) => *undo,
        other => panic!("`{}` has no undo: {other:?}", effect.kind()),
    };
    for time in ["first", "second"] {
        stage.perform(&undo).await.unwrap_or_else(|error| panic!("{} {time}: {error:?}", undo.kind()));
        assert_eq!(stage.sight().await, before, "`{}` is taken back ({time} time)", effect.kind());
    }
}

/// The undo of an effect that failed before it did anything finds nothing to do.
async fn take_back_nothing(stage: &Stage<'_>, effect: Effect) {
    let before = stage.sight().await;
    let prior = match effect.facts().prior() {
        Some(question) => Some(stage.perform(&question).await.unwrap()),
        None => None,
    };
    if let Undo::Effect(undo) = effect.facts().undo(prior.as_ref()) {
        stage.perform(&undo).await.unwrap_or_else(|error| panic!("{} of nothing: {error:?}", undo.kind()));
    }
    assert_eq!(stage.sight().await, before, "`{}` was never done", effect.kind());
}

pub async fn run(stage: &Stage<'_>) {
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web) });
    take_back_nothing(stage, effect::<RunContainer>(spec.clone())).await;
    take_back(stage, effect::<RunContainer>(spec)).await;
}

pub async fn create(stage: &Stage<'_>) {
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web) });
    take_back(stage, effect::<CreateContainer>(spec)).await;
}

pub async fn start(stage: &Stage<'_>) {
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web) });
    stage.must::<CreateContainer>(spec).await;
    take_back(stage, effect::<StartContainer>(json!({ "container": stage.name("web") }))).await;
}

pub async fn stop(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    take_back(stage, effect::<StopContainer>(json!({ "container": stage.name("web") }))).await;
}

pub async fn kill(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    let kill = effect::<KillContainer>(json!({ "container": stage.name("web") }));
    let prior = stage.perform(&kill.facts().prior().unwrap()).await.unwrap();
    stage.perform(&kill).await.unwrap();
    stage.must::<WaitContainer>(json!({ "container": stage.name("web"), "timeout": "10s" })).await;
    let Undo::Effect(undo) = kill.facts().undo(Some(&prior)) else { panic!("no undo") };
    stage.perform(&undo).await.unwrap();
    let web = json!({ "container": stage.name("web") });
    assert!(stage.must::<InspectContainer>(web).await.unwrap().is_running());
}

/// A signal is on its way when it is taken back.
pub async fn kill_at_once(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    let web = json!({ "container": stage.name("web") });
    let kill = effect::<KillContainer>(json!({ "container": stage.name("web"), "signal": "SIGTERM" }));
    let prior = stage.perform(&kill.facts().prior().unwrap()).await.unwrap();
    stage.perform(&kill).await.unwrap();
    let Undo::Effect(undo) = kill.facts().undo(Some(&prior)) else { panic!("no undo") };
    stage.perform(&undo).await.unwrap();
    let late = json!({ "container": stage.name("web"), "timeout": "500ms" });
    stage.refused::<WaitContainer>(late, deployer::effect::ErrorKind::Timeout).await;
    assert!(stage.must::<InspectContainer>(web).await.unwrap().is_running());
}

pub async fn rename_back(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    let rename = json!({ "container": stage.name("web"), "name": stage.name("new") });
    take_back_nothing(stage, effect::<RenameContainer>(rename.clone())).await;
    take_back(stage, effect::<RenameContainer>(rename)).await;
}

pub async fn tag(stage: &Stage<'_>) {
    let tag = json!({ "image": stage.image(App::Web), "tag": stage.name("app:live") });
    take_back_nothing(stage, effect::<TagImage>(tag.clone())).await;
    take_back(stage, effect::<TagImage>(tag)).await;
}

pub async fn tag_of_another(stage: &Stage<'_>) {
    let name = stage.name("app:live");
    stage.must::<TagImage>(json!({ "image": stage.image(App::Web), "tag": name })).await;
    take_back(stage, effect::<TagImage>(json!({ "image": stage.image(App::Dies), "tag": name }))).await;
}

pub async fn build(stage: &Stage<'_>) {
    let request: BuildImage = stage.host.build(App::Dies, &stage.name("app:built"));
    take_back(stage, request.clone().into()).await;
    stage.must::<TagImage>(json!({ "image": stage.image(App::Web), "tag": request.tag })).await;
    take_back(stage, request.into()).await;
}

pub async fn image_name(stage: &Stage<'_>) {
    let name = stage.name("app:spare");
    stage.must::<TagImage>(json!({ "image": stage.image(App::Web), "tag": name })).await;
    take_back(stage, effect::<RemoveImage>(json!({ "image": name }))).await;
}

pub async fn volume(stage: &Stage<'_>) {
    take_back(stage, effect::<CreateVolume>(json!({ "name": stage.name("data") }))).await;
}

pub async fn network(stage: &Stage<'_>) {
    let name = stage.name("net");
    stage.note_network(&name);
    let create = effect::<CreateNetwork>(json!({ "name": name }));
    stage.perform(&create).await.unwrap();
    stage.start("web", App::Web).await;
    take_back(stage, effect::<ConnectNetwork>(json!({ "network": name, "container": stage.name("web") }))).await;
    let Undo::Effect(undo) = create.facts().undo(None) else { panic!("no undo") };
    stage.perform(&undo).await.unwrap();
    assert!(!stage.must::<RemoveNetwork>(json!({ "name": name, "missing_ok": true })).await.removed, "it is gone");
}

pub async fn only_own_is_removed(stage: &Stage<'_>) {
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web) });
    stage.ask_as::<RunContainer>(&stage.other_run(), spec.clone()).await.unwrap();
    stage.ask_as::<CreateVolume>(&stage.other_run(), json!({ "name": stage.name("data") })).await.unwrap();
    take_back_nothing(stage, effect::<RunContainer>(spec)).await;
    take_back_nothing(stage, effect::<CreateVolume>(json!({ "name": stage.name("data") }))).await;
}
