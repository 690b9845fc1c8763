//! Follows a page in an empty folder on one engine, as a reader would.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::block::Block;
use super::likeness::assert_like;
use super::ports::{free_pair, free_port};

/// The base image of the app. `tests/support/python-base` builds it if it is missing.
const BASE_IMAGE: &str = "python:3.11-slim";
/// The limit for each block, in seconds.
const BLOCK_TIMEOUT: &str = "120";
/// Commands that need `--engine local` without Docker, as the pages say.
const ENGINE_COMMANDS: &str = "plan|verify|repl|init|doctor|status|gc|rollback|releases";

/// Counts the tours of this process, so that each gets a unique service name.
static TOURS: AtomicUsize = AtomicUsize::new(0);
/// Only one tour at a time uses the engine, because `verify` and `plan` copy everything on it.
static ENGINE: Mutex<()> = Mutex::new(());

pub struct Tour {
    page: &'static str,
    home: tempfile::TempDir,
    /// Texts of the page, and their replacements: free ports, a unique service name.
    replacements: Vec<(String, String)>,
    on_docker: bool,
    /// Released after the clean-up.
    _engine: Option<MutexGuard<'static, ()>>,
}

impl Tour {
    /// Follows the page's advice for machines without Docker: `FROM scratch` and `--engine local`.
    pub fn local(page: &'static str) -> Self {
        let mut tour = Self::new(page, false);
        tour.replacements.push((format!("FROM {BASE_IMAGE}"), "FROM scratch".into()));
        tour
    }

    pub fn docker(page: &'static str) -> Self {
        let present = Command::new("docker").args(["image", "inspect", BASE_IMAGE]).output().unwrap();
        if !present.status.success() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python-base");
            assert_succeeded(&Command::new(script).output().unwrap());
        }
        let mut tour = Self::new(page, true);
        let number = TOURS.fetch_add(1, Ordering::Relaxed);
        tour.replacements.push(("hello".into(), format!("readme-{}-{number}", std::process::id())));
        tour
    }

    fn new(page: &'static str, on_docker: bool) -> Self {
        let mut replacements: Vec<_> =
            (8080..8084).map(|port: u16| (port.to_string(), free_port().to_string())).collect();
        // Behind a route, releases use this port and the next one in turn.
        replacements.push(("8084".into(), free_pair().to_string()));
        let engine = on_docker.then(|| ENGINE.lock().unwrap_or_else(PoisonError::into_inner));
        let tour = Self { page, home: tempfile::tempdir().unwrap(), replacements, on_docker, _engine: engine };
        fs::create_dir_all(tour.folder()).unwrap();
        fs::create_dir(tour.path("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_MANIFEST_DIR"), tour.path("deployer")).unwrap();
        let option = if on_docker { "" } else { " --engine local" };
        // The pages show what a terminal shows.
        let program = format!(
            "#!/bin/sh\ncase $1 in\n  run|deploy) set -- \"$@\" --format pretty{option} ;;\n  {ENGINE_COMMANDS}) set -- \"$@\"{option} ;;\n  show|demo|abort|resume) set -- \"$@\" --format pretty ;;\nesac\nexec '{}' \"$@\"\n",
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

    /// Writes the file of a block, with this tour's names and ports.
    fn write(&self, name: &str, block: &Block) {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.adapted(&block.text)).unwrap();
    }

    /// Starts with these files of another page.
    pub fn with_files(self, blocks: &[Block], names: &[&str]) -> Self {
        for name in names {
            let block = blocks.iter().find(|block| block.value("file") == Some(name));
            self.write(&self.adapted(name), block.unwrap_or_else(|| panic!("no block is the file {name}")));
        }
        self
    }

    /// Follows every block, in order.
    #[track_caller]
    pub fn follow(&self, blocks: &[Block]) {
        let mut printed = None;
        for block in blocks {
            let location = format!("{}:{}", self.page, block.line);
            if let Some(name) = block.value("file") {
                let name = self.adapted(name);
                self.write(&name, block);
                if block.language == "rhai" && !block.has("part") {
                    let output = self.bash(&format!("deployer check {name}"));
                    assert!(output.status.success(), "{location}: {}", text(&output));
                }
            } else if block.is_typed() {
                let output = self.bash(&self.adapted(&block.text));
                let text = self.restored(&text(&output));
                let expected = block.value("exit").map_or(0, |code| code.parse().unwrap());
                assert_eq!(output.status.code(), Some(expected), "{location} printed:\n{text}");
                if let Some(folder) = std::env::var_os("SHOW_TOUR") {
                    let page = self.page.rsplit('/').next().unwrap_or_default();
                    let engine = if self.on_docker { "docker" } else { "local" };
                    let name = format!("{page}-{engine}-{:04}.txt", block.line);
                    fs::write(Path::new(&folder).join(name), format!("{}---\n{text}", block.text)).unwrap();
                }
                printed = Some(text);
            } else if block.language == "text" && !block.has("layout") {
                let printed = printed.take().unwrap_or_else(|| panic!("{location}: there is no command before it"));
                assert_like(&location, &block.text, &printed);
            }
        }
    }

    /// Runs lines as a reader's shell would, without the environment of this process.
    fn bash(&self, lines: &str) -> Output {
        let mut bash = Command::new("timeout");
        bash.args([BLOCK_TIMEOUT, "bash", "-c", &format!("set -eo pipefail; exec 2>&1\n{lines}")]);
        bash.current_dir(self.folder()).env_clear().env("HOME", self.home.path()).env("COLUMNS", "80");
        let path = std::env::var("PATH").unwrap();
        bash.env("PATH", format!("{}:{path}", self.path("bin").display()));
        let docker = if self.on_docker { std::env::var("DOCKER_HOST").ok() } else { Some("unix:///nowhere".into()) };
        bash.envs(docker.map(|address| ("DOCKER_HOST", address)));
        bash.output().unwrap()
    }

    /// Replaces the names and ports of the page with those of this tour.
    fn adapted(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (shown, here)| text.replace(shown, here))
    }

    /// Replaces the names and ports of this tour with those of the page.
    fn restored(&self, text: &str) -> String {
        let home = self.home.path().display().to_string();
        let text = text.replace(&home, "/home/me");
        self.replacements.iter().fold(text, |text, (shown, here)| text.replace(here, shown))
    }
}

/// Removes what a tour leaves if it ends early.
impl Drop for Tour {
    fn drop(&mut self) {
        let script = "for container in docker_list(#{all: true}) {\n\
            if container.labels.get(\"deployer.service\") in SERVICES { docker_remove(container, #{force: true, disposable: true}); }\n}";
        let service = self.adapted("hello");
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
fn assert_succeeded(output: &Output) {
    assert!(output.status.success(), "{}{}", text(output), String::from_utf8_lossy(&output.stderr));
}
