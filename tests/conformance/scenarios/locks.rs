//! Locks.

use deployer::effect::ErrorKind;
use deployer::effect::container::RunContainer;
use deployer::effect::lock::{AcquireLock, BreakLock, HolderState, ListLocks, LookLock, ReleaseLock};
use deployer::world::Call;
use serde_json::json;

use crate::host::App;
use crate::stage::{Stage, ask_world};

pub async fn lock_is_exclusive(stage: &Stage<'_>) {
    let (lock, other) = (json!({ "service": stage.name("shop") }), stage.other_run());
    let first = stage.must::<AcquireLock>(lock.clone()).await;
    assert_eq!(first.taken_over_from, None);
    assert_eq!(stage.must::<AcquireLock>(lock.clone()).await, first, "asked again, it is the same lock");
    let listed = stage.must::<ListLocks>(json!({})).await;
    let ours = listed.iter().find(|held| held.service == stage.name("shop")).expect("the lock is listed");
    assert_eq!((&ours.holder.run, ours.holder.state), (stage.run(), HolderState::Alive));
    let held = stage.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "{held:?}");
    assert!(held.message.contains(stage.run().as_str()) && held.message.contains("since "), "{held}");
    assert!(held.hint.unwrap().contains("deployer unlock"));
    let waited = json!({ "service": stage.name("shop"), "wait": "300ms" });
    assert_eq!(stage.ask_as::<AcquireLock>(&other, waited).await.unwrap_err().kind, ErrorKind::Locked);
    stage.ask_as::<ReleaseLock>(&other, lock.clone()).await.unwrap();
    let held = stage.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "another run cannot let go");
    stage.must::<ReleaseLock>(lock.clone()).await;
    stage.must::<ReleaseLock>(lock.clone()).await;
    stage.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap();
    stage.ask_as::<ReleaseLock>(&other, lock).await.unwrap();
}

/// A run that goes on in another process keeps its lock and its number; another run takes the lock over.
pub async fn lock_of_the_dead_is_taken_over(stage: &Stage<'_>) {
    let (lock, dead) = (json!({ "service": stage.name("shop") }), stage.other_run());
    let own = json!({ "service": stage.name("own") });
    let other = stage.host.mortal(&dead);
    let killed = ask_world::<AcquireLock>(other.world.as_ref(), &stage.call(&dead), lock.clone()).await.unwrap();
    let before = ask_world::<AcquireLock>(other.world.as_ref(), &stage.call(stage.run()), own.clone()).await.unwrap();
    let held = stage.ask::<AcquireLock>(lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "while it lives");
    (other.die)();
    let listed = stage.must::<ListLocks>(json!({})).await;
    let is_dead = |held: &deployer::effect::lock::HeldLock| held.holder.state == HolderState::Dead;
    assert!(listed.iter().any(|held| held.service == stage.name("shop") && is_dead(held)), "{listed:?}");
    let state = stage.must::<LookLock>(lock.clone()).await.holder.unwrap().state;
    assert_eq!(state, HolderState::Dead);
    let taken = stage.must::<AcquireLock>(lock.clone()).await;
    assert_eq!(taken.taken_over_from, Some(dead));
    assert!(taken.epoch > killed.epoch, "{taken:?} {killed:?}");
    assert_eq!(stage.must::<AcquireLock>(own.clone()).await, before);
    assert!(stage.must::<LookLock>(own.clone()).await.holder.unwrap().is_this_process);
    stage.must::<ReleaseLock>(lock).await;
    stage.must::<ReleaseLock>(own).await;
}

pub async fn lock_is_taken_away(stage: &Stage<'_>) {
    let (lock, other) = (json!({ "service": stage.name("shop") }), stage.other_run());
    let breaking = |run: &deployer::base::run_id::RunId| json!({ "service": stage.name("shop"), "run": run });
    assert_eq!(stage.must::<LookLock>(lock.clone()).await.holder, None);
    assert!(!stage.must::<BreakLock>(breaking(&other)).await.removed);
    let mine = stage.must::<AcquireLock>(lock.clone()).await;
    let seen = stage.must::<LookLock>(lock.clone()).await;
    let holder = seen.holder.unwrap();
    assert_eq!((&holder.run, holder.epoch, seen.newest_epoch), (stage.run(), mine.epoch, mine.epoch));
    assert_eq!((holder.state, holder.is_this_process), (HolderState::Alive, true));
    assert!(!stage.must::<BreakLock>(breaking(&other)).await.removed, "another run's lock is left alone");
    assert!(stage.must::<BreakLock>(breaking(stage.run())).await.removed);
    let next = stage.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap();
    assert!(next.epoch > mine.epoch, "{next:?} {mine:?}");
    stage.must::<ReleaseLock>(lock.clone()).await;
    let holder = stage.must::<LookLock>(lock.clone()).await.holder.unwrap();
    assert_eq!(holder.run, other, "whoever lost the lock cannot let go of the next one");
    stage.ask_as::<ReleaseLock>(&other, lock).await.unwrap();
}

pub async fn later_locks_have_greater_numbers(stage: &Stage<'_>) {
    let (service, other) = (stage.name("shop"), stage.other_run());
    let lock = json!({ "service": service });
    let first = stage.must::<AcquireLock>(lock.clone()).await;
    let call = Call { epoch: Some(first.epoch), ..stage.call(stage.run()) };
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web), "service": service });
    let web = ask_world::<RunContainer>(stage.host.world(), &call, spec).await.unwrap();
    assert_eq!(web.labels["deployer.epoch"], first.epoch.to_string());
    stage.must::<ReleaseLock>(lock.clone()).await;
    let view = stage.must::<LookLock>(lock.clone()).await;
    assert_eq!((view.holder, view.newest_epoch), (None, first.epoch));
    let second = stage.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap();
    assert!(second.epoch > first.epoch, "{second:?} {first:?}");
    stage.ask_as::<ReleaseLock>(&other, lock).await.unwrap();
}
