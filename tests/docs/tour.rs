//! A reader who follows the README in a folder of their own, on one engine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::block::Block;
use super::likeness::assert_like;
use super::ports::{free_pair, free_port};

/// What the README's own image is built on; `tests/support/python-base` makes it where it is missing.
const BASE_IMAGE: &str = "python:3.11-slim";
/// No line of the tour takes longer.
const PATIENCE: &str = "120";

pub struct Tour {
    home: tempfile::TempDir,
    /// What the README says, and what is said in its place here: ports that are free, a name that nobody else uses.
    instead: Vec<(String, String)>,
    on_docker: bool,
}

impl Tour {
    /// As the README says to do without Docker: `FROM scratch`, and `--engine local`.
    pub fn local() -> Self {
        let mut tour = Self::new(false);
        tour.instead.push((format!("FROM {BASE_IMAGE}"), "FROM scratch".into()));
        tour
    }

    pub fn docker() -> Self {
        let present = Command::new("docker").args(["image", "inspect", BASE_IMAGE]).output().unwrap();
        if !present.status.success() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python-base");
            succeeded(&Command::new(script).output().unwrap());
        }
        let mut tour = Self::new(true);
        tour.instead.push(("hello".into(), format!("readme-{}", std::process::id())));
        tour
    }

    fn new(on_docker: bool) -> Self {
        let mut instead: Vec<_> = (8080..8084).map(|port: u16| (port.to_string(), free_port().to_string())).collect();
        // Behind a route, releases take this one and the one after it in turn.
        instead.push(("8084".into(), free_pair().to_string()));
        let tour = Self { home: tempfile::tempdir().unwrap(), instead, on_docker };
        fs::create_dir_all(tour.folder()).unwrap();
        fs::create_dir(tour.path("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_MANIFEST_DIR"), tour.path("deployer")).unwrap();
        let engine = if on_docker { "" } else { " --engine local" };
        // As at a terminal: that is what the README shows.
        let program = format!(
            "#!/bin/sh\ncase $1 in\n  run) set -- \"$@\" --format pretty{engine} ;;\n  plan|verify|repl|init|doctor) set -- \"$@\"{engine} ;;\n  show|demo|abort|resume) set -- \"$@\" --format pretty ;;\nesac\nexec '{}' \"$@\"\n",
            env!("CARGO_BIN_EXE_deployer")
        );
        fs::write(tour.path("bin/deployer"), program).unwrap();
        fs::set_permissions(tour.path("bin/deployer"), fs::Permissions::from_mode(0o755)).unwrap();
        tour
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn folder(&self) -> PathBuf {
        self.path("tour")
    }

    /// Does what every block says, in order.
    #[track_caller]
    pub fn walk(&self, blocks: &[Block]) {
        let mut printed = None;
        for block in blocks {
            let place = format!("README.md:{}", block.line);
            if let Some(name) = block.value("file") {
                let name = self.said_here(name);
                let path = self.folder().join(&name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, self.said_here(&block.text)).unwrap();
                if block.language == "rhai" && !block.has("part") {
                    let output = self.bash(&format!("deployer check {name}"));
                    assert!(output.status.success(), "{place}: {}", text(&output));
                }
            } else if block.language == "sh" && !block.has("install") {
                let output = self.bash(&self.said_here(&block.text));
                let text = self.said_there(&text(&output));
                let wanted = block.value("exit").map_or(0, |code| code.parse().unwrap());
                assert_eq!(output.status.code(), Some(wanted), "{place} printed:\n{text}");
                if let Some(folder) = std::env::var_os("SHOW_TOUR") {
                    let name = format!("{}-{:04}.txt", if self.on_docker { "docker" } else { "local" }, block.line);
                    fs::write(Path::new(&folder).join(name), format!("{}---\n{text}", block.text)).unwrap();
                }
                printed = Some(text);
            } else if block.language == "text" && !block.has("layout") {
                let printed = printed.take().unwrap_or_else(|| panic!("{place}: no command is before it"));
                assert_like(&place, &block.text, &printed);
            }
        }
    }

    /// Runs lines as a reader's shell would, and nothing of this process's environment comes along.
    fn bash(&self, lines: &str) -> Output {
        let mut bash = Command::new("timeout");
        bash.args([PATIENCE, "bash", "-c", &format!("set -eo pipefail; exec 2>&1\n{lines}")]);
        bash.current_dir(self.folder()).env_clear().env("HOME", self.home.path()).env("COLUMNS", "80");
        let path = std::env::var("PATH").unwrap();
        bash.env("PATH", format!("{}:{path}", self.path("bin").display()));
        let docker = if self.on_docker { std::env::var("DOCKER_HOST").ok() } else { Some("unix:///nowhere".into()) };
        bash.envs(docker.map(|address| ("DOCKER_HOST", address)));
        bash.output().unwrap()
    }

    fn said_here(&self, text: &str) -> String {
        self.instead.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    fn said_there(&self, text: &str) -> String {
        let home = self.home.path().display().to_string();
        let text = text.replace(&home, "/home/me");
        self.instead.iter().fold(text, |text, (there, here)| text.replace(here, there))
    }
}

/// What is left when the tour ends half-way, goes.
impl Drop for Tour {
    fn drop(&mut self) {
        let script = "for container in docker_list(#{all: true}) {\n\
            if container.labels.get(\"deployer.service\") in SERVICES { docker_remove(container, #{force: true, disposable: true}); }\n}";
        let service = self.said_here("hello");
        let script = script.replace("SERVICES", &format!("[\"{service}\", \"{service}-proxied\"]"));
        let script = format!(
            "for route in traffic_list() {{ if route.service.starts_with(\"{service}\") {{ traffic_forget(route.service); }} }}\n{script}"
        );
        drop(self.bash(&format!("deployer run - <<'END'\n{script}\nEND")));
        drop(self.bash("kill $(cat proxy.pid)"));
        if self.on_docker {
            let images = format!("docker image rm -f $(docker image ls -q '{service}*')");
            drop(self.bash(&images));
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}{}", text(output), String::from_utf8_lossy(&output.stderr));
}
