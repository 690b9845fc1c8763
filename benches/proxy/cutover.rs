//! How long a switch takes, from the command to the last request on the old target, under load.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contender::{OWN_PORT, own};
use crate::table::{Table, median, percentile};

const SWITCHES: u64 = 50;
const VISITORS: usize = 8;
const BETWEEN: Duration = Duration::from_millis(50);

/// Posts a command; a proxy that refuses it ends the benchmark.
pub fn command(control: &Path, text: &str) {
    let mut stream = UnixStream::connect(control).unwrap_or_else(|error| panic!("no control socket: {error}"));
    let length = text.len();
    let head = format!("POST /v1/command HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let mut answer = String::new();
    let done = stream.write_all((head + text).as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    assert!(done.is_ok() && answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Answers with its letter; remembers when the last request came.
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
    while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
        last.fetch_max(u64::try_from(begun.elapsed().as_micros()).unwrap_or_default(), Ordering::SeqCst);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{letter}");
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn visitor(ending: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", OWN_PORT)) else { return };
    let mut bytes = [0; 4096];
    while !ending.load(Ordering::SeqCst) {
        if stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_err() || stream.read(&mut bytes).is_err() {
            return;
        }
    }
}

pub fn table(folder: &Path) {
    let folder = folder.join("cutover");
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("no folder: {error}"));
    let Some(_own) = own(&folder) else { return };
    let control = folder.join("control.sock");
    let begun = Instant::now();
    let lasts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let ports = [target('a', begun, Arc::clone(&lasts[0])), target('b', begun, Arc::clone(&lasts[1]))];
    command(
        &control,
        &format!(
            r#"{{"op":"targets_set","epoch":1,"service":"web","step":{{"targets":[
                {{"name":"0","address":"127.0.0.1:{}"}},{{"name":"1","address":"127.0.0.1:{}","weight":0}}]}}}}"#,
            ports[0], ports[1]
        ),
    );
    let ending = AtomicBool::new(false);
    let (mut commands, mut lags) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        for _ in 0..VISITORS {
            scope.spawn(|| visitor(&ending));
        }
        for number in 1..=SWITCHES {
            thread::sleep(BETWEEN);
            let to = number % 2;
            let decided = begun.elapsed();
            command(&control, &format!(r#"{{"op":"switch","epoch":{number},"service":"web","target":"{to}"}}"#));
            commands.push(begun.elapsed().saturating_sub(decided));
            thread::sleep(BETWEEN);
            let last = Duration::from_micros(lasts[1 - to as usize].load(Ordering::SeqCst));
            lags.push(last.saturating_sub(decided));
        }
        ending.store(true, Ordering::SeqCst);
    });
    let mut table = Table::new("50 switches under load", &["median", "p99"]);
    for (name, times) in [("until the command is answered", commands), ("until the old one's last request", lags)] {
        let mut sorted = times.clone();
        sorted.sort();
        table.row(name, &[format!("{:.1?}", median(&times)), format!("{:.1?}", percentile(&sorted, 99))]);
    }
    table.print();
}
