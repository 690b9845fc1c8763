//! How containers exit: stop, kill, wait.

use deployer::effect::ErrorKind;
use deployer::effect::container::{
    ContainerState, InspectContainer, KillContainer, StopContainer, Stopped, WaitContainer,
};
use deployer::effect::health::WaitHealthy;
use serde_json::json;

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::App;

pub async fn stop_exits_cleanly(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    context.must::<WaitHealthy>(json!({ "container": context.name("web"), "path": "/", "timeout": "10s" })).await;
    let stopped = context.must::<StopContainer>(json!({ "container": context.name("web"), "grace": "10s" })).await;
    assert_eq!(stopped, Stopped { exit_code: Some(0), killed: false });
    let after = context.must::<InspectContainer>(json!({ "container": context.name("web") })).await.unwrap();
    assert_eq!((after.state, after.exit_code, after.ports), (ContainerState::Exited, Some(0), vec![]));
    let again = context.must::<StopContainer>(json!({ "container": context.name("web") })).await;
    assert_eq!(again, Stopped { exit_code: Some(0), killed: false }, "a stopped container is not changed");
}

pub async fn stop_kills_after_the_grace_period(context: &ScenarioContext<'_>) {
    context.start("app", App::Stubborn).await;
    context.until_logged("app", "listening").await;
    let stopped = context.must::<StopContainer>(json!({ "container": context.name("app"), "grace": "1s" })).await;
    assert_eq!(stopped, Stopped { exit_code: Some(137), killed: true });
    let after = context.must::<InspectContainer>(json!({ "container": context.name("app") })).await.unwrap();
    assert_eq!((after.state, after.exit_code), (ContainerState::Exited, Some(137)));
}

pub async fn kill(context: &ScenarioContext<'_>) {
    context.start("app", App::Stubborn).await;
    context.must::<KillContainer>(json!({ "container": context.name("app") })).await;
    let ended = context.must::<WaitContainer>(json!({ "container": context.name("app"), "timeout": "10s" })).await;
    assert_eq!(ended.exit_code, 137);
    context.refused::<KillContainer>(json!({ "container": context.name("app") }), ErrorKind::Conflict).await;
}

pub async fn wait_and_exit_code(context: &ScenarioContext<'_>) {
    context.start("dies", App::Dies).await;
    let wait = json!({ "container": context.name("dies"), "timeout": "20s" });
    assert_eq!(context.must::<WaitContainer>(wait.clone()).await.exit_code, 3);
    assert_eq!(context.must::<WaitContainer>(wait).await.exit_code, 3, "returns at once when the container has exited");
    let after = context.must::<InspectContainer>(json!({ "container": context.name("dies") })).await.unwrap();
    assert_eq!((after.state, after.exit_code, after.oom_killed), (ContainerState::Exited, Some(3), false));
}

pub async fn wait_times_out(context: &ScenarioContext<'_>) {
    context.start("web", App::Web).await;
    let wait = json!({ "container": context.name("web"), "timeout": "300ms" });
    context.refused::<WaitContainer>(wait, ErrorKind::Timeout).await;
    assert!(context.must::<InspectContainer>(json!({ "container": context.name("web") })).await.unwrap().is_running());
}
