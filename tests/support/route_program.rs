//! The real nginx, HAProxy and Caddy, each with the example configuration in a temporary folder.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::deadline::until;
use super::ports::free_port;

pub const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

/// A running program. It is killed on drop.
pub struct Program {
    pub kind: Kind,
    pub folder: tempfile::TempDir,
    /// The address for clients.
    pub address: SocketAddr,
    /// The address of Caddy's admin API.
    pub admin: SocketAddr,
    child: Child,
}

/// Returns the text of an example with other folders and ports.
fn example(path: &str, changes: &[(&str, String)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path);
    let mut text = fs::read_to_string(file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in examples/{path}");
        text = text.replace(from, to);
    }
    text
}

impl Program {
    pub fn is_installed(kind: Kind) -> bool {
        Command::new(command_line(kind).0).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    pub fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let admin: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let root = folder.path().to_str().unwrap().to_owned();
        let (name, text) = match kind {
            Kind::Nginx => {
                fs::create_dir(folder.path().join("conf.d")).unwrap();
                let changes =
                    [("/run/", format!("{root}/")), ("/var/log/nginx", root.clone()), ("/etc/nginx", root.clone())];
                ("nginx.conf", example("nginx/nginx.conf", &changes))
            }
            Kind::Haproxy => {
                let changes = [
                    ("/run/haproxy", root.clone()),
                    ("/var/lib/haproxy", root.clone()),
                    ("0.0.0.0:80", address.to_string()),
                ];
                ("haproxy.cfg", example("haproxy/haproxy.cfg", &changes))
            }
            Kind::Caddy => ("caddy.json", example("caddy/caddy.json", &[("127.0.0.1:2019", admin.to_string())])),
        };
        fs::write(folder.path().join(name), text).unwrap();
        let child = spawn(kind, folder.path());
        let mut program = Self { kind, folder, address, admin, child };
        program.wait_ready();
        program
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the path of a file in its folder as text.
    pub fn path_text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Returns the driver of a route, as a script specifies it.
    pub fn driver(&self) -> Value {
        match self.kind {
            Kind::Nginx => json!({
                "kind": "nginx",
                "include": self.path_text("conf.d/deployer-web.conf"),
                "test": self.nginx(&["-t"]),
                "reload": self.nginx(&["-s", "reload"]),
            }),
            Kind::Haproxy => json!({
                "kind": "haproxy", "socket": self.path_text("admin.sock"), "state_file": self.path_text("servers.state"),
            }),
            Kind::Caddy => json!({"kind": "caddy", "admin": format!("http://{}", self.admin)}),
        }
    }

    /// Returns the `[traffic]` table for the configuration of a script.
    pub fn table(&self) -> String {
        let mut driver = self.driver();
        let driver = driver.as_object_mut().unwrap();
        let kind = driver.remove("kind").unwrap();
        if self.kind == Kind::Haproxy {
            driver.insert("backend".to_owned(), json!("web"));
        }
        // JSON and TOML write strings and lists the same way.
        let options: Vec<String> = driver.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        format!(
            "[traffic]\ndriver = {kind}\naddress = \"{}\"\nkeep_warm = \"1s\"\noptions = {{ {} }}\n",
            self.address,
            options.join(", ")
        )
    }

    /// Returns an nginx command line with the configuration of this program.
    pub fn nginx(&self, arguments: &[&str]) -> Vec<String> {
        let config = self.path_text("nginx.conf");
        ["nginx", "-e", "stderr", "-c", config.as_str()].iter().chain(arguments).map(ToString::to_string).collect()
    }

    fn wait_ready(&mut self) {
        let (kind, admin) = (self.kind, self.admin);
        let (pid, socket) = (self.path("nginx.pid"), self.path("admin.sock"));
        let log = self.path("log");
        let child = &mut self.child;
        until("the program to be ready", TIMEOUT, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{kind:?} ended: {}", fs::read_to_string(&log).unwrap_or_default());
            match kind {
                Kind::Nginx => fs::read_to_string(&pid).is_ok_and(|pid| !pid.is_empty()),
                Kind::Haproxy => std::os::unix::net::UnixStream::connect(&socket).is_ok(),
                Kind::Caddy => std::net::TcpStream::connect(admin).is_ok(),
            }
            .then_some(())
        });
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Kills the program and starts it again with the same files.
    pub fn crash_and_start(&mut self) {
        self.kill();
        for leftover in ["nginx.pid", "admin.sock"] {
            drop(fs::remove_file(self.path(leftover)));
        }
        self.child = spawn(self.kind, self.folder.path());
        self.wait_ready();
    }

    /// Kills all its processes.
    pub fn kill(&mut self) {
        let group = Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
        drop(self.child.wait());
        // The other processes of the group end a moment later and close their listening sockets.
        until("the end of the program", TIMEOUT, || nix::sys::signal::killpg(group, None).is_err().then_some(()));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command_line(kind: Kind) -> (&'static str, &'static [&'static str]) {
    match kind {
        Kind::Nginx => ("nginx", &["-e", "stderr", "-g", "daemon off;", "-c"]),
        Kind::Haproxy => ("haproxy", &["-W", "-db", "-f"]),
        Kind::Caddy => ("caddy", &["run", "--resume", "--config"]),
    }
}

fn spawn(kind: Kind, folder: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let (program, arguments) = command_line(kind);
    let config = match kind {
        Kind::Nginx => "nginx.conf",
        Kind::Haproxy => "haproxy.cfg",
        Kind::Caddy => "caddy.json",
    };
    Command::new(program)
        .args(arguments)
        .arg(folder.join(config))
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}
