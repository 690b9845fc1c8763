//! A receiver of webhooks on the loopback: keeps every body that is posted to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::deadline::until;

pub struct Receiver {
    port: u16,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    /// Listens until the test process ends.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        thread::spawn({
            let bodies = Arc::clone(&bodies);
            move || {
                for stream in listener.incoming().flatten() {
                    let mut reader = BufReader::new(stream);
                    let mut length = 0;
                    let mut line = String::new();
                    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && !line.trim().is_empty() {
                        if let Some((name, value)) = line.split_once(':')
                            && name.eq_ignore_ascii_case("content-length")
                        {
                            length = value.trim().parse().unwrap_or(0);
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    if reader.read_exact(&mut body).is_ok() {
                        bodies.lock().unwrap().push(serde_json::from_slice(&body).unwrap_or(Value::Null));
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                        // A sender that went away does not need the answer.
                        let _ = reader.get_mut().write_all(answer);
                    }
                }
            }
        });
        Self { port, bodies }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// The bodies once there are `count` of them.
    pub fn bodies(&self, count: usize) -> Vec<Value> {
        until("webhooks", Duration::from_secs(10), || {
            let bodies = self.bodies.lock().unwrap();
            (bodies.len() >= count).then(|| bodies.clone())
        })
    }
}
