//! The logo detection API in a git repository, deployed by `safe_deploy.rhai` on Docker.

use std::time::Duration;

use super::apps;
use super::deadline::until;
use super::deployer::{Deployer, Finished};
use super::docker::Docker;
use super::git_repo::GitRepo;
use super::http;
use super::ports::free_port;

const TIMEOUT: Duration = Duration::from_secs(60);

pub struct LogoApp {
    pub docker: Docker,
    pub deployer: Deployer,
    pub repo: GitRepo,
    pub service: String,
    pub port: u16,
    pub new_port: u16,
}

impl LogoApp {
    pub fn new() -> Self {
        let docker = Docker::new();
        Self {
            deployer: Deployer::docker(),
            repo: GitRepo::of(&apps::example("logo-detection")),
            service: docker.name("logo"),
            port: free_port(),
            new_port: free_port(),
            docker,
        }
    }

    /// Writes the configuration, and returns the arguments that select it and override `settings`.
    pub fn args(&self, settings: &[&str]) -> Vec<String> {
        let config = format!(
            r#"
service = "{}"
repo = "{}"
port = {}
new_port = {}
drain = "10s"
bake = "200ms"

[environment]
MAX_CONCURRENT_DETECTIONS = "4"

[health]
timeout = "20s"
"#,
            self.service,
            self.repo.path().display(),
            self.port,
            self.new_port,
        );
        let mut args = vec!["--config".to_owned(), self.deployer.file("safe.toml", &config)];
        args.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]));
        args
    }

    pub fn deploy(&self, settings: &[&str]) -> Finished {
        let args = self.args(settings);
        self.deployer.run("safe_deploy.rhai", &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Changes the version in the app's code, commits, and returns the commit.
    pub fn release(&self, version: &str) -> String {
        let path = self.repo.path().join("src/api/main.py");
        let code = std::fs::read_to_string(&path).unwrap();
        let line = code.lines().find(|line| line.starts_with("VERSION = ")).unwrap();
        std::fs::write(&path, code.replace(line, &format!("VERSION = \"{version}\""))).unwrap();
        self.repo.commit(&format!("Release {version}"))
    }

    pub fn container_id(&self) -> String {
        self.docker.inspect(&self.service)["Id"].as_str().unwrap().to_owned()
    }

    /// Asserts that the only container but for kept releases is the service's, and that `version` answers on the public port.
    #[track_caller]
    pub fn serves_alone(&self, version: &str) {
        assert_eq!(self.docker.current_containers(), ["logo"]);
        let answer = until("an answer", TIMEOUT, || http::get(self.port, "/api/v1/health").ok());
        assert_eq!((answer.status, answer.version.as_str()), (200, version), "{}", answer.body);
    }
}
