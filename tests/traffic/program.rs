//! The real programs, each with the example's configuration in a folder of its own.

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

pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

/// Ends when it is dropped.
pub struct Program {
    pub kind: Kind,
    pub folder: tempfile::TempDir,
    /// Where visitors come.
    pub address: SocketAddr,
    /// Where Caddy is told.
    pub admin: SocketAddr,
    child: Child,
}

/// The example's text with other folders and ports.
fn example(path: &str, changes: &[(&str, String)]) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path);
    let mut text = fs::read_to_string(whole).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in examples/{path}");
        text = text.replace(from, to);
    }
    text
}

impl Program {
    pub fn is_installed(kind: Kind) -> bool {
        Command::new(started_with(kind).0).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    pub fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let admin: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let at = folder.path().to_str().unwrap().to_owned();
        let (name, text) = match kind {
            Kind::Nginx => {
                fs::create_dir(folder.path().join("conf.d")).unwrap();
                let changes = [("/run/", format!("{at}/")), ("/var/log/nginx", at.clone()), ("/etc/nginx", at.clone())];
                ("nginx.conf", example("nginx/nginx.conf", &changes))
            }
            Kind::Haproxy => {
                let changes = [
                    ("/run/haproxy", at.clone()),
                    ("/var/lib/haproxy", at.clone()),
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

    pub fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// As a script names it.
    pub fn driver(&self) -> Value {
        match self.kind {
            Kind::Nginx => json!({
                "kind": "nginx",
                "include": self.at("conf.d/deployer-web.conf"),
                "test": self.nginx(&["-t"]),
                "reload": self.nginx(&["-s", "reload"]),
            }),
            Kind::Haproxy => json!({
                "kind": "haproxy", "socket": self.at("admin.sock"), "state_file": self.at("servers.state"),
            }),
            Kind::Caddy => json!({"kind": "caddy", "admin": format!("http://{}", self.admin)}),
        }
    }

    /// The table of a script's configuration.
    pub fn table(&self) -> String {
        let mut driver = self.driver();
        let driver = driver.as_object_mut().unwrap();
        let kind = driver.remove("kind").unwrap();
        if self.kind == Kind::Haproxy {
            driver.insert("backend".to_owned(), json!("web"));
        }
        // Strings and lists are written the same way in both.
        let options: Vec<String> = driver.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        format!(
            "[traffic]\ndriver = {kind}\naddress = \"{}\"\nkeep_warm = \"1s\"\noptions = {{ {} }}\n",
            self.address,
            options.join(", ")
        )
    }

    pub fn nginx(&self, arguments: &[&str]) -> Vec<String> {
        let config = self.at("nginx.conf");
        ["nginx", "-e", "stderr", "-c", config.as_str()].iter().chain(arguments).map(ToString::to_string).collect()
    }

    fn wait_ready(&mut self) {
        let (kind, admin) = (self.kind, self.admin);
        let (pid, socket) = (self.path("nginx.pid"), self.path("admin.sock"));
        let talk = self.path("talk");
        let child = &mut self.child;
        until("the program", PATIENCE, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{kind:?} ended: {}", fs::read_to_string(&talk).unwrap_or_default());
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

    /// Killed, and started once more with the same files.
    pub fn crash_and_start(&mut self) {
        self.end();
        for left in ["nginx.pid", "admin.sock"] {
            drop(fs::remove_file(self.path(left)));
        }
        self.child = spawn(self.kind, self.folder.path());
        self.wait_ready();
    }

    /// Kills it with all its processes.
    pub fn end(&mut self) {
        let group = Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
        drop(self.child.wait());
        // The others of its group are gone a moment later, and so is what they listen on.
        until("the end of the program", PATIENCE, || nix::sys::signal::killpg(group, None).is_err().then_some(()));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

fn started_with(kind: Kind) -> (&'static str, &'static [&'static str]) {
    match kind {
        Kind::Nginx => ("nginx", &["-e", "stderr", "-g", "daemon off;", "-c"]),
        Kind::Haproxy => ("haproxy", &["-W", "-db", "-f"]),
        Kind::Caddy => ("caddy", &["run", "--resume", "--config"]),
    }
}

fn spawn(kind: Kind, folder: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    let talk = File::options().create(true).append(true).open(folder.join("talk")).unwrap();
    let (program, arguments) = started_with(kind);
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
        .stdout(talk.try_clone().unwrap())
        .stderr(talk)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}
