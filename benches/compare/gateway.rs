//! The cost of the gateway: effects through all layers into a world that does nothing, with each journal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deployer::base::run_id::RunId;
use deployer::base::seq::Branch;
use deployer::base::vault::Vault;
use deployer::effect::volume::CreateVolume;
use deployer::effect::{Effect, EffectError, Outcome, time};
use deployer::gateway::ledger::Ledger;
use deployer::gateway::{Cancel, Gateway};
use deployer::journal::entry::{Entry, Process, RunHeader};
use deployer::journal::memory_journal::MemoryJournal;
use deployer::journal::sqlite_journal::SqliteJournal;
use deployer::journal::{Durability, Journal};
use deployer::world::clock::{Clock, SystemClock};
use deployer::world::{Call, World};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::table::{Table, percentile};

const EFFECTS: usize = 1000;

/// Answers at once, so that only the gateway and the journal are measured.
struct NoopWorld;

impl World for NoopWorld {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::default())
    }

    fn perform<'a>(&'a self, _: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        let reply = match effect.kind() {
            "now" => json!({"unix_ms": 0, "text": "1970-01-01T00:00:00Z"}),
            "volume_list" => json!([]),
            _ => json!({"name": "data", "driver": "local", "mountpoint": "/data"}),
        };
        let outcome = Outcome::decode(effect.kind(), reply).expect("a reply of this kind");
        Box::pin(async move { Ok(outcome) })
    }
}

fn gateway(journal: Arc<dyn Journal>) -> Gateway {
    let world = Arc::new(NoopWorld);
    let run = RunId::from_bytes([7; 10]);
    let ledger = Ledger::new(run, journal, world.clock(), Arc::new(Vault::empty()), Arc::new(|_| {}));
    let header = RunHeader {
        script: "bench.rhai".into(),
        digest: String::new(),
        params: Value::Null,
        engine: "sim".into(),
        address: String::new(),
        engine_id: String::new(),
        engine_flags: String::new(),
        state_flags: String::new(),
        version: String::new(),
        working_dir: String::new(),
        process: Process {
            host: String::new(),
            pid: 0,
            boot_id: String::new(),
            pid_namespace: String::new(),
            process_start: 0,
        },
    };
    ledger.record(Entry::RunStarted { header: Box::new(header) }, Durability::Power).expect("a valid first entry");
    Gateway::new(world, Arc::new(ledger), Cancel::default(), None)
}

fn measure(gateway: &Gateway, make: impl Fn(usize) -> Effect) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let branch = Branch::root();
    let mut times: Vec<_> = (0..EFFECTS)
        .map(|n| {
            let begin = Instant::now();
            runtime.block_on(gateway.perform(branch.next(), None, make(n))).expect("the world never fails");
            begin.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn read(_: usize) -> Effect {
    time::Now {}.into()
}

fn write(n: usize) -> Effect {
    CreateVolume { name: format!("volume-{n}"), labels: Default::default(), service: None }.into()
}

/// Measures two synced appends of the size of an entry to the same disk: the cost of the disk alone.
fn two_syncs(folder: &std::path::Path) -> Vec<Duration> {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("syncs")).expect("a file");
    let entry = [b'x'; 4096];
    let mut times: Vec<_> = (0..EFFECTS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..2 {
                file.write_all(&entry).expect("room");
                file.sync_data().expect("a sync");
            }
            begin.elapsed()
        })
        .collect();
    times.sort();
    times
}

pub fn table() {
    let mut table = Table::new("one effect through the gateway, journal included", &["p50", "p99", "of two syncs"]);
    // In `target`, which is on a real disk; `/tmp` may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let disk = two_syncs(folder.path());
    let base = percentile(&disk, 50);
    let mut row = |name: &str, times: &[Duration]| {
        let p50 = percentile(times, 50);
        let ratio = p50.as_secs_f64() / base.as_secs_f64();
        table.row(name, &[format!("{p50:.1?}"), format!("{:.1?}", percentile(times, 99)), format!("{ratio:.2}")]);
    };
    row("two synced appends, no deployer", &disk);
    let stores: [(&str, Arc<dyn Journal>); 2] = [
        ("memory", Arc::new(MemoryJournal::default())),
        ("disk", Arc::new(SqliteJournal::open(folder.path()).expect("a journal"))),
    ];
    for (name, journal) in stores {
        let gateway = gateway(journal);
        row(&format!("read, journal in {name}"), &measure(&gateway, read));
    }
    let stores: [(&str, Arc<dyn Journal>); 2] = [
        ("memory", Arc::new(MemoryJournal::default())),
        ("disk", Arc::new(SqliteJournal::open(&folder.path().join("writes")).expect("a journal"))),
    ];
    for (name, journal) in stores {
        let gateway = gateway(journal);
        row(&format!("write, journal in {name}"), &measure(&gateway, write));
    }
    table.print();
}
