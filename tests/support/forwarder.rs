//! The engine's socket behind a port of another address of this machine: an engine that is elsewhere, as far as
//! `deployer` can tell.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

/// Passes on what comes to a port, as long as the test runs; returns the engine's new address.
pub fn forward_engine(host: &str) -> String {
    let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
    let socket = engine.strip_prefix("unix://").expect("the tests' engine has a socket").to_owned();
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let engine = UnixStream::connect(&socket).unwrap();
            let (to_engine, to_client) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass(client, to_engine, |engine| engine.shutdown(Shutdown::Write)));
            thread::spawn(move || pass(engine, to_client, |client: &TcpStream| client.shutdown(Shutdown::Write)));
        }
    });
    address
}

fn pass<To: Write>(mut from: impl Read, mut to: To, end: impl Fn(&To) -> std::io::Result<()>) {
    // Either side may have gone; the other one then ends, too.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = end(&to);
}
