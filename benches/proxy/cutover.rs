//! How long a switch takes with each proxy, through deployer's drivers and under load: from the decision to the last
//! request on the old target, and until the switch is confirmed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use deployer::base::run_id::RunId;
use deployer::base::vault::Vault;
use deployer::effect::Effect;
use deployer::world::Call;
use deployer::world::clock::SystemClock;
use deployer::world::services::Services;
use serde_json::{Value, json};

use crate::contender::{DEPLOYER_PORT, deployer_proxy};
use crate::fake_engine::FakeEngine;
use crate::program::{Kind, Program};
use crate::table::{Table, median, percentile};

const SWITCHES: u64 = 50;
const CLIENTS: usize = 8;
const BETWEEN: Duration = Duration::from_millis(50);

/// Sends a command to the control socket; panics if the proxy refuses it.
pub fn command(control: &Path, text: &str) {
    let mut stream = UnixStream::connect(control).unwrap_or_else(|error| panic!("no control socket: {error}"));
    let length = text.len();
    let head = format!("POST /v1/command HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let mut answer = String::new();
    let done = stream.write_all((head + text).as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    assert!(done.is_ok() && answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Starts a target that answers with its letter and records the time of the last request.
fn target(letter: char, begun: Instant, last: Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no port: {error}"));
    let port = listener.local_addr().map(|address| address.port()).unwrap_or_default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let last = Arc::clone(&last);
            thread::spawn(move || answer(stream, letter, begun, &last));
        }
    });
    port
}

fn answer(mut stream: TcpStream, letter: char, begun: Instant, last: &AtomicU64) {
    let mut bytes = [0; 4096];
    drop(stream.set_nodelay(true));
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        // Health checks do not count as requests of clients.
        if String::from_utf8_lossy(&bytes[..count]).to_ascii_lowercase().contains("x-client") {
            last.fetch_max(u64::try_from(begun.elapsed().as_micros()).unwrap_or_default(), Ordering::SeqCst);
        }
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{letter}");
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Sends requests in a loop; reconnects when the connection ends.
fn client(address: SocketAddr, stop: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        while !stop.load(Ordering::SeqCst) {
            let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Client: 1\r\n\r\n");
            if sent.is_err() || !stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                break;
            }
        }
    }
}

/// Controls a proxy program, as a run of deployer does.
struct Run {
    runtime: tokio::runtime::Runtime,
    services: Services,
    epoch: u64,
}

impl Run {
    fn ask(&mut self, kind: &str, args: Value) {
        self.epoch += 1;
        let effect = Effect::decode(kind, args).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let call = Call::silent(RunId::from_bytes([7; 10]), "1".parse().unwrap(), Arc::new(Vault::new(|_| None)));
        let call = Call { epoch: Some(self.epoch), ..call };
        let done = self.runtime.block_on(self.services.perform(&call, &effect));
        done.unwrap_or_else(|error| panic!("{kind}: {error} {:?}", error.detail));
    }
}

/// For each switch, the times until the last request on the old target and until the confirmation.
fn measure(address: SocketAddr, driver: &Value) -> [Vec<Duration>; 2] {
    let begun = Instant::now();
    let lasts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let ports = [target('a', begun, Arc::clone(&lasts[0])), target('b', begun, Arc::clone(&lasts[1]))];
    let engine = Arc::new(FakeEngine::default());
    let services = Services::new(engine, Arc::new(SystemClock::default()), Arc::new(|_: &str| None));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut run = Run { runtime, services, epoch: 1 };
    let step = |to: u64| {
        let target = |(name, port): (u64, &u16)| json!({"name": name.to_string(), "address": format!("127.0.0.1:{port}"), "weight": u64::from(name == to)});
        json!({"service": "web", "targets": (0..).zip(&ports).map(target).collect::<Vec<_>>()})
    };
    run.ask("traffic_route", json!({"service": "web", "address": address.to_string(), "driver": driver}));
    run.ask("traffic_set", step(0));
    let stop = AtomicBool::new(false);
    let (mut lags, mut confirmations) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| client(address, &stop));
        }
        for number in 1..=SWITCHES {
            thread::sleep(BETWEEN);
            let to = number % 2;
            let decided = begun.elapsed();
            run.ask("traffic_switch", json!({"service": "web", "target": to.to_string()}));
            confirmations.push(begun.elapsed().saturating_sub(decided));
            thread::sleep(BETWEEN);
            let last = Duration::from_micros(lasts[1 - to as usize].load(Ordering::SeqCst));
            lags.push(last.saturating_sub(decided));
        }
        stop.store(true, Ordering::SeqCst);
    });
    [lags, confirmations]
}

pub fn table(folder: &Path) {
    let columns = ["last request on the old target: median", "p99", "confirmed: median", "p99"];
    let mut table = Table::new(&format!("{SWITCHES} switches under load"), &columns);
    let mut row = |name: &str, times: [Vec<Duration>; 2]| {
        let cells = times.map(|mut times| {
            times.sort();
            [format!("{:.1?}", median(&times)), format!("{:.1?}", percentile(&times, 99))]
        });
        table.row(name, &cells.concat());
    };
    let folder = folder.join("cutover");
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("no folder: {error}"));
    if let Some(proxy) = deployer_proxy(&folder) {
        let driver = json!({"kind": "proxy", "control": folder.join("control.sock")});
        row(proxy.name, measure(([127, 0, 0, 1], DEPLOYER_PORT).into(), &driver));
    }
    for (name, kind) in [("nginx", Kind::Nginx), ("HAProxy", Kind::Haproxy), ("Caddy", Kind::Caddy)] {
        if Program::is_installed(kind) {
            let program = Program::start(kind);
            row(name, measure(program.address, &program.driver()));
        }
    }
    table.print();
}
