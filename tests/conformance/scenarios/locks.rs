//! Locks.

use deployer::effect::ErrorKind;
use deployer::effect::lock::{AcquireLock, ListLocks, Locked, ReleaseLock};
use serde_json::json;

use crate::stage::{Stage, ask_world};

pub async fn lock_is_exclusive(stage: &Stage<'_>) {
    let (lock, other) = (json!({ "service": stage.name("shop") }), stage.other_run());
    assert_eq!(stage.must::<AcquireLock>(lock.clone()).await, Locked { taken_over_from: None });
    stage.must::<AcquireLock>(lock.clone()).await;
    let listed = stage.must::<ListLocks>(json!({})).await;
    let ours = listed.iter().find(|held| held.service == stage.name("shop")).expect("the lock is listed");
    assert_eq!((&ours.run, ours.dead), (stage.run(), false));
    let held = stage.ask_as::<AcquireLock>(&other, lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "{held:?}");
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

pub async fn lock_of_the_dead_is_taken_over(stage: &Stage<'_>) {
    let (lock, dead) = (json!({ "service": stage.name("shop") }), stage.other_run());
    let other = stage.host.mortal(&dead);
    ask_world::<AcquireLock>(other.world.as_ref(), &stage.call(&dead), lock.clone()).await.unwrap();
    let held = stage.ask::<AcquireLock>(lock.clone()).await.unwrap_err();
    assert_eq!(held.kind, ErrorKind::Locked, "while it lives");
    (other.die)();
    let listed = stage.must::<ListLocks>(json!({})).await;
    assert!(listed.iter().any(|held| held.service == stage.name("shop") && held.dead), "{listed:?}");
    assert_eq!(stage.must::<AcquireLock>(lock.clone()).await, Locked { taken_over_from: Some(dead) });
    stage.must::<ReleaseLock>(lock).await;
}
