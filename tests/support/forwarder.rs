//! Forwards a TCP port to the engine's socket, so that `deployer` takes the engine for a remote one.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

/// Returns the path of the engine's socket.
pub fn engine_socket() -> String {
    let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
    engine.strip_prefix("unix://").expect("the engine of the tests has a Unix socket").to_owned()
}

/// Listens on `host` until the test process ends, and returns the address of the engine there.
pub fn forward_engine(host: &str) -> String {
    let socket = engine_socket();
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let engine = UnixStream::connect(&socket).unwrap();
            let (to_engine, to_client) = (engine.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || forward(client, to_engine, |engine| engine.shutdown(Shutdown::Write)));
            thread::spawn(move || forward(engine, to_client, |client: &TcpStream| client.shutdown(Shutdown::Write)));
        }
    });
    address
}

fn forward<To: Write>(mut from: impl Read, mut to: To, end: impl Fn(&To) -> std::io::Result<()>) {
    // Either side may have closed the connection. Then the other side ends too.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = end(&to);
}
