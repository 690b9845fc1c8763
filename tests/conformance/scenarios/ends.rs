//! How containers end: stop, kill, wait.

use deployer::effect::ErrorKind;
use deployer::effect::container::{
    ContainerState, InspectContainer, KillContainer, StopContainer, Stopped, WaitContainer,
};
use deployer::effect::health::WaitHealthy;
use serde_json::json;

use crate::host::App;
use crate::stage::Stage;

pub async fn stop_is_obeyed(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    stage.must::<WaitHealthy>(json!({ "container": stage.name("web"), "path": "/", "timeout": "10s" })).await;
    let stopped = stage.must::<StopContainer>(json!({ "container": stage.name("web"), "grace": "10s" })).await;
    assert_eq!(stopped, Stopped { exit_code: Some(0), killed: false });
    let after = stage.must::<InspectContainer>(json!({ "container": stage.name("web") })).await.unwrap();
    assert_eq!((after.state, after.exit_code, after.ports), (ContainerState::Exited, Some(0), vec![]));
    let again = stage.must::<StopContainer>(json!({ "container": stage.name("web") })).await;
    assert_eq!(again, Stopped { exit_code: Some(0), killed: false }, "a stopped one stays as it is");
}

pub async fn stop_kills_the_stubborn(stage: &Stage<'_>) {
    stage.start("app", App::Stubborn).await;
    stage.until_logged("app", "listening").await;
    let stopped = stage.must::<StopContainer>(json!({ "container": stage.name("app"), "grace": "1s" })).await;
    assert_eq!(stopped, Stopped { exit_code: Some(137), killed: true });
    let after = stage.must::<InspectContainer>(json!({ "container": stage.name("app") })).await.unwrap();
    assert_eq!((after.state, after.exit_code), (ContainerState::Exited, Some(137)));
}

pub async fn kill(stage: &Stage<'_>) {
    stage.start("app", App::Stubborn).await;
    stage.must::<KillContainer>(json!({ "container": stage.name("app") })).await;
    let ended = stage.must::<WaitContainer>(json!({ "container": stage.name("app"), "timeout": "10s" })).await;
    assert_eq!(ended.exit_code, 137);
    stage.refused::<KillContainer>(json!({ "container": stage.name("app") }), ErrorKind::Conflict).await;
}

pub async fn wait_and_exit_code(stage: &Stage<'_>) {
    stage.start("dies", App::Dies).await;
    let wait = json!({ "container": stage.name("dies"), "timeout": "20s" });
    assert_eq!(stage.must::<WaitContainer>(wait.clone()).await.exit_code, 3);
    assert_eq!(stage.must::<WaitContainer>(wait).await.exit_code, 3, "at once when it has ended");
    let after = stage.must::<InspectContainer>(json!({ "container": stage.name("dies") })).await.unwrap();
    assert_eq!((after.state, after.exit_code, after.oom_killed), (ContainerState::Exited, Some(3), false));
}

pub async fn wait_gives_up(stage: &Stage<'_>) {
    stage.start("web", App::Web).await;
    let wait = json!({ "container": stage.name("web"), "timeout": "300ms" });
    stage.refused::<WaitContainer>(wait, ErrorKind::Timeout).await;
    assert!(stage.must::<InspectContainer>(json!({ "container": stage.name("web") })).await.unwrap().is_running());
}
