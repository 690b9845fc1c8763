//! The lock of a service, with runs that compete for it.

use deployer::base::run_id::RunId;
use deployer::effect::lock::{AcquireLock, BreakLock, Locked, ReleaseLock};
use deployer::effect::volume::CreateVolume;
use deployer::effect::{EffectError, ErrorKind};
use deployer::world::Call;
use deployer::world::docker::{ConnectSpec, DockerWorld};
use deployer::world::process_identity::ProcessIdentity;
use serde_json::json;

use super::bench::{Bench, CONNECT, call_of, docker, holder, perform, random_run, refused, unchanged};

async fn world_of(bench: &Bench, holder: ProcessIdentity) -> DockerWorld {
    DockerWorld::open(ConnectSpec::at(bench.world.engine().address()), holder, CONNECT).await.unwrap()
}

async fn acquire(world: &DockerWorld, run: &RunId, service: &str, wait: &str) -> Result<Locked, EffectError> {
    let request: AcquireLock = serde_json::from_value(json!({"service": service, "wait": wait})).unwrap();
    perform(world, &call_of(run), request).await
}

async fn release(world: &DockerWorld, run: &RunId, service: &str) {
    perform(world, &call_of(run), ReleaseLock { service: service.into() }).await.unwrap();
}

/// A process that has certainly ended: its PID belongs to a process with another start time.
fn dead_process() -> ProcessIdentity {
    ProcessIdentity { process_start: 1, ..holder() }
}

/// A process on another machine, whose state is unknown here.
fn remote_process() -> ProcessIdentity {
    ProcessIdentity { host: "elsewhere".into(), ..dead_process() }
}

#[tokio::test]
async fn the_second_run_is_refused_until_the_first_releases_the_lock() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    let (first, second) = (random_run(), random_run());
    assert_eq!(acquire(&bench.world, &first, &service, "0s").await.unwrap().taken_over_from, None);
    acquire(&bench.world, &first, &service, "0s").await.expect("a run may ask again");
    let error = refused(acquire(&bench.world, &second, &service, "0s").await, ErrorKind::Locked);
    unchanged(&error);
    for word in [first.as_str(), &holder().host, &holder().pid.to_string(), "since 20"] {
        assert!(error.message.contains(word), "{word}: {error}");
    }
    release(&bench.world, &second, &service).await;
    refused(acquire(&bench.world, &second, &service, "300ms").await, ErrorKind::Locked);

    let waiting = acquire(&bench.world, &second, &service, "15s");
    let releasing = release(&bench.world, &first, &service);
    let (waited, ()) = tokio::join!(waiting, releasing);
    assert_eq!(waited.unwrap().taken_over_from, None);
    refused(acquire(&bench.world, &first, &service, "0s").await, ErrorKind::Locked);
    release(&bench.world, &second, &service).await;
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={service}")]), "");
    unchanged(&refused(acquire(&bench.world, &first, "a/b", "0s").await, ErrorKind::Invalid));
}

#[tokio::test]
async fn only_one_run_takes_over_the_lock_of_a_dead_process() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    let killed = random_run();
    let before = acquire(&world_of(&bench, dead_process()).await, &killed, &service, "0s").await.unwrap();
    let runs: Vec<RunId> = (0..12).map(|_| random_run()).collect();
    let answers =
        futures_util::future::join_all(runs.iter().map(|run| acquire(&bench.world, run, &service, "0s"))).await;
    let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert!(matches!(won[..], [won] if won.taken_over_from == Some(killed) && won.epoch > before.epoch), "{answers:?}");
    let lost = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(lost.map(|error| error.kind).all(|kind| kind == ErrorKind::Locked), "{answers:?}");
    let left = docker(&["volume", "ls", "--quiet", "--filter", &format!("name={service}")]);
    assert_eq!(left.lines().count(), 1, "no guard is left: {left}");
}

#[tokio::test]
async fn a_crash_during_a_takeover_does_not_block_the_lock() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    let (killed, crashed, last) = (random_run(), random_run(), random_run());
    let dead_world = world_of(&bench, dead_process()).await;
    acquire(&dead_world, &killed, &service, "0s").await.unwrap();
    // The guard that a process leaves if it is killed between taking the guard and removing the lock.
    let ProcessIdentity { pid, process_start, .. } = dead_process();
    acquire(&dead_world, &crashed, &format!("{service}-after-{killed}-{pid}-{process_start}"), "0s").await.unwrap();
    let taken = acquire(&bench.world, &last, &service, "0s").await.unwrap();
    assert_eq!(taken.taken_over_from, Some(killed));
}

#[tokio::test]
async fn a_resumed_run_keeps_its_lock() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    let (run, other) = (random_run(), random_run());
    let before = acquire(&world_of(&bench, dead_process()).await, &run, &service, "0s").await.unwrap();
    assert_eq!(acquire(&bench.world, &run, &service, "0s").await.unwrap(), before);
    // Of two processes that resume one run, the slower one is refused.
    let late = world_of(&bench, ProcessIdentity { pid: 1, process_start: 1, ..remote_process() }).await;
    refused(acquire(&late, &run, &service, "0s").await, ErrorKind::Locked);
    release(&late, &run, &service).await;
    refused(acquire(&bench.world, &other, &service, "0s").await, ErrorKind::Locked);
}

#[tokio::test]
async fn only_one_of_many_runs_gets_the_lock() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    let runs: Vec<RunId> = (0..20).map(|_| random_run()).collect();
    let answers =
        futures_util::future::join_all(runs.iter().map(|run| acquire(&bench.world, run, &service, "0s"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_holder_on_another_machine_is_never_assumed_dead() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    acquire(&world_of(&bench, remote_process()).await, &random_run(), &service, "0s").await.unwrap();
    let error = refused(acquire(&bench.world, &random_run(), &service, "0s").await, ErrorKind::Locked);
    assert!(
        error.message.contains("`elsewhere`") && error.hint.unwrap().contains("deployer unlock"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn an_epoch_outlives_a_broken_lock_until_an_object_has_a_greater_one() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    let (paused, second, third) = (random_run(), random_run(), random_run());
    let volumes = || docker(&["volume", "ls", "--quiet", "--filter", &format!("name={service}")]).trim().to_owned();
    let epoch = async |run| acquire(&bench.world, run, &service, "0s").await.unwrap().epoch;
    let broken = epoch(&paused).await;
    perform(&bench.world, &call_of(&third), BreakLock { service: service.clone(), run: paused.clone() }).await.unwrap();
    assert_eq!(volumes(), format!("deployer-epoch-{service}-{broken}"));
    assert!(epoch(&second).await > broken);
    release(&bench.world, &second, &service).await;
    assert_eq!(volumes(), format!("deployer-epoch-{service}-{broken}"), "no object has a greater epoch");
    let last = epoch(&third).await;
    let data = bench.name("data");
    let request: CreateVolume = serde_json::from_value(json!({"name": data, "service": service})).unwrap();
    perform(&bench.world, &Call { epoch: Some(last), ..call_of(&third) }, request).await.unwrap();
    release(&bench.world, &third, &service).await;
    assert_eq!(volumes(), "");
    assert!(epoch(&second).await > last);
    release(&bench.world, &second, &service).await;
}

#[tokio::test]
async fn epochs_grow_when_everything_that_carried_them_was_removed() {
    let bench = Bench::new().await;
    let service = bench.name("svc");
    let mut last = 0;
    for _ in 0..3 {
        let run = random_run();
        let epoch = acquire(&bench.world, &run, &service, "0s").await.unwrap().epoch;
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
        release(&bench.world, &run, &service).await;
        assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={service}")]), "");
    }
}
