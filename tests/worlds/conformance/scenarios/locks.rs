//! Locks.

use deployer::effect::ErrorKind;
use deployer::effect::container::RunContainer;
use deployer::effect::lock::{AcquireLock, BreakLock, HolderState, InspectLock, ListLocks, ReleaseLock};
use deployer::world::Call;
use serde_json::json;

use crate::conformance::context::{ScenarioContext, ask_world};
use crate::conformance::host::App;

pub async fn lock_is_exclusive(context: &ScenarioContext<'_>) {
    let (lock, other) = (json!({ "service": context.name("shop") }), context.other_run());
    let first = context.must::<AcquireLock>(lock.clone()).await;
    assert_eq!(first.taken_over_from, None);
    assert_eq!(context.must::<AcquireLock>(lock.clone()).await, first, "acquiring it again returns the same lock");
    let listed = context.must::<ListLocks>(json!({})).await;
    let ours = listed.iter().find(|held| held.service == context.name("shop")).expect("the lock is listed");
    assert_eq!((&ours.holder.run, ours.holder.state), (context.run(), HolderState::Alive));
    let held = context.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "{held:?}");
    assert!(held.message.contains(context.run().as_str()) && held.message.contains("since "), "{held}");
    assert!(held.hint.unwrap().contains("deployer unlock"));
    let waited = json!({ "service": context.name("shop"), "wait": "300ms" });
    assert_eq!(context.ask_as::<AcquireLock>(&other, waited).await.unwrap_err().kind, ErrorKind::Locked);
    context.ask_as::<ReleaseLock>(&other, lock.clone()).await.unwrap();
    let held = context.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "another run cannot release it");
    context.must::<ReleaseLock>(lock.clone()).await;
    context.must::<ReleaseLock>(lock.clone()).await;
    context.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap();
    context.ask_as::<ReleaseLock>(&other, lock).await.unwrap();
}

/// A run that continues in another process keeps its lock and its epoch; another run takes the lock over.
pub async fn lock_of_a_dead_run_is_taken_over(context: &ScenarioContext<'_>) {
    let (lock, dead) = (json!({ "service": context.name("shop") }), context.other_run());
    let own = json!({ "service": context.name("own") });
    let other = context.host.other_process(&dead);
    let killed = ask_world::<AcquireLock>(other.world.as_ref(), &context.call(&dead), lock.clone()).await.unwrap();
    let before =
        ask_world::<AcquireLock>(other.world.as_ref(), &context.call(context.run()), own.clone()).await.unwrap();
    let held = context.ask::<AcquireLock>(lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "while the process runs");
    (other.kill)();
    let listed = context.must::<ListLocks>(json!({})).await;
    let is_dead = |held: &deployer::effect::lock::HeldLock| held.holder.state == HolderState::Dead;
    assert!(listed.iter().any(|held| held.service == context.name("shop") && is_dead(held)), "{listed:?}");
    let state = context.must::<InspectLock>(lock.clone()).await.holder.unwrap().state;
    assert_eq!(state, HolderState::Dead);
    let acquired = context.must::<AcquireLock>(lock.clone()).await;
    assert_eq!(acquired.taken_over_from, Some(dead));
    assert!(acquired.epoch > killed.epoch, "{acquired:?} {killed:?}");
    assert_eq!(context.must::<AcquireLock>(own.clone()).await, before);
    assert!(context.must::<InspectLock>(own.clone()).await.holder.unwrap().is_this_process);
    context.must::<ReleaseLock>(lock).await;
    context.must::<ReleaseLock>(own).await;
}

pub async fn lock_is_broken(context: &ScenarioContext<'_>) {
    let (lock, other) = (json!({ "service": context.name("shop") }), context.other_run());
    let breaking = |run: &deployer::base::run_id::RunId| json!({ "service": context.name("shop"), "run": run });
    assert_eq!(context.must::<InspectLock>(lock.clone()).await.holder, None);
    assert!(!context.must::<BreakLock>(breaking(&other)).await.removed);
    let held_by_us = context.must::<AcquireLock>(lock.clone()).await;
    let seen = context.must::<InspectLock>(lock.clone()).await;
    let holder = seen.holder.unwrap();
    assert_eq!((&holder.run, holder.epoch, seen.newest_epoch), (context.run(), held_by_us.epoch, held_by_us.epoch));
    assert_eq!((holder.state, holder.is_this_process), (HolderState::Alive, true));
    assert!(!context.must::<BreakLock>(breaking(&other)).await.removed, "the lock of another run is not broken");
    assert!(context.must::<BreakLock>(breaking(context.run())).await.removed);
    let next = context.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap();
    assert!(next.epoch > held_by_us.epoch, "{next:?} {held_by_us:?}");
    context.must::<ReleaseLock>(lock.clone()).await;
    let holder = context.must::<InspectLock>(lock.clone()).await.holder.unwrap();
    assert_eq!(holder.run, other, "a run that lost the lock cannot release the next one");
    context.ask_as::<ReleaseLock>(&other, lock).await.unwrap();
}

pub async fn later_locks_have_higher_epochs(context: &ScenarioContext<'_>) {
    let (service, other) = (context.name("shop"), context.other_run());
    let lock = json!({ "service": service });
    let first = context.must::<AcquireLock>(lock.clone()).await;
    let call = Call { epoch: Some(first.epoch), ..context.call(context.run()) };
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web), "service": service });
    let web = ask_world::<RunContainer>(context.host.world(), &call, spec).await.unwrap();
    assert_eq!(web.labels["deployer.epoch"], first.epoch.to_string());
    context.must::<ReleaseLock>(lock.clone()).await;
    let view = context.must::<InspectLock>(lock.clone()).await;
    assert_eq!((view.holder, view.newest_epoch), (None, first.epoch));
    let second = context.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap();
    assert!(second.epoch > first.epoch, "{second:?} {first:?}");
    context.ask_as::<ReleaseLock>(&other, lock).await.unwrap();
}
