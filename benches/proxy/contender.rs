//! The proxies that are compared: program, configuration, port and memory.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const TARGET_PORT: u16 = 17_480;
pub const DEPLOYER_PORT: u16 = 17_484;
const THREADS: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Contender {
    pub name: &'static str,
    pub port: u16,
    child: Child,
}

impl Contender {
    fn start(name: &'static str, port: u16, command: &mut Command) -> Option<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let contender = Self { name, port, child };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < TIMEOUT, "{name} does not listen");
            sleep(Duration::from_millis(20));
        }
        Some(contender)
    }

    /// Resident memory of the process and its children.
    pub fn memory(&self) -> String {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.child.id()));
        let children = children.unwrap_or_default();
        let all = children.split_whitespace().map(str::to_owned).chain([self.child.id().to_string()]);
        let kib: u64 = all.filter_map(|pid| resident(&pid)).sum();
        format!("{:.1} MB", kib as f64 / 1024.0)
    }
}

fn resident(pid: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Drop for Contender {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn nginx(folder: &Path, name: &'static str, port: u16, workers: usize, location: &str) -> Option<Contender> {
    let upstream = format!("upstream target {{ server 127.0.0.1:{TARGET_PORT}; keepalive 64; }}");
    let text = format!(
        "worker_processes {workers}; daemon off; pid {folder}/{port}.pid; error_log /dev/null;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 10000000; {upstream}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}\n",
        folder = folder.display()
    );
    let path = folder.join(format!("{port}.conf"));
    std::fs::write(&path, text).ok()?;
    Contender::start(name, port, Command::new("nginx").arg("-c").arg(path))
}

/// The target behind all proxies.
pub fn target(folder: &Path) -> Contender {
    let answer = "return 200 \"hello from the target, in a few words\\n\";";
    nginx(folder, "direct", TARGET_PORT, 1, answer).unwrap_or_else(|| panic!("nginx is needed as the target"))
}

pub fn all(folder: &Path) -> Vec<Option<Contender>> {
    vec![deployer_proxy(folder), proxy_nginx(folder), haproxy(folder), caddy(folder)]
}

/// The embedded proxy, started by its command.
pub fn deployer_proxy(folder: &Path) -> Option<Contender> {
    let control = folder.join("control.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_deployer"));
    command.args(["proxy", "run", "--threads", &THREADS.to_string(), "--control"]).arg(&control);
    command.arg("--state").arg(folder.join("state.json")).arg("--listen").arg(format!("127.0.0.1:{DEPLOYER_PORT}"));
    let contender = Contender::start("deployer proxy", DEPLOYER_PORT, &mut command)?;
    let route = format!(
        r#"{{"op":"route_set","epoch":1,"route":{{"service":"web","address":"127.0.0.1:{DEPLOYER_PORT}"}},
            "step":{{"targets":[{{"name":"one","address":"127.0.0.1:{TARGET_PORT}"}}]}}}}"#
    );
    crate::cutover::command(&control, &route);
    Some(contender)
}

fn proxy_nginx(folder: &Path) -> Option<Contender> {
    let location = "proxy_pass http://target; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;";
    nginx(folder, "nginx", 17_481, THREADS, location)
}

fn haproxy(folder: &Path) -> Option<Contender> {
    let text = format!(
        "global\n  nbthread {THREADS}\n  maxconn 8000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  option forwardfor\n  http-reuse always\nfrontend f\n  bind 127.0.0.1:17482\n  \
         default_backend b\nbackend b\n  server s 127.0.0.1:{TARGET_PORT}\n"
    );
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, text).ok()?;
    Contender::start("HAProxy", 17_482, Command::new("haproxy").arg("-f").arg(path))
}

fn caddy(folder: &Path) -> Option<Contender> {
    let text = format!(
        "{{\n admin off\n auto_https off\n}}\nhttp://127.0.0.1:17483 {{\n reverse_proxy 127.0.0.1:{TARGET_PORT}\n}}\n"
    );
    let path = folder.join("Caddyfile");
    std::fs::write(&path, text).ok()?;
    let mut command = Command::new("caddy");
    command.env("HOME", folder).env("GOMAXPROCS", THREADS.to_string());
    Contender::start("Caddy", 17_483, command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path))
}
