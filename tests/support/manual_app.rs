//! The manual generator on Docker, deployed by `bluegreen.rhai`.

use std::time::Duration;

use super::apps;
use super::deadline::until;
use super::deployer::{Deployer, Finished, Running};
use super::docker::Docker;
use super::http::{self, HttpReply};
use super::ports::{free_pair, free_port};

const TIMEOUT: Duration = Duration::from_secs(60);

pub struct ManualApp {
    pub docker: Docker,
    pub deployer: Deployer,
    /// The container's name: `PREFIX-manual`.
    pub service: String,
    pub volume: String,
    pub port: u16,
    pub green_port: u16,
    /// More lines for the top of the configuration.
    pub settings: String,
    /// More tables for the end of the configuration.
    pub tables: String,
}

impl ManualApp {
    pub fn new() -> Self {
        Self::on(Docker::new())
    }

    /// Uses this engine.
    pub fn on(docker: Docker) -> Self {
        let deployer = Deployer::docker();
        Self {
            deployer: match docker.host() {
                Some(host) => deployer.env("DOCKER_HOST", host),
                None => deployer,
            },
            service: docker.name("manual"),
            volume: docker.name("instance"),
            port: free_port(),
            green_port: free_pair(),
            settings: String::new(),
            tables: String::new(),
            docker,
        }
    }

    /// Deploys version 1 with the shipped script.
    #[track_caller]
    pub fn with_v1() -> Self {
        Self::with_v1_on(Docker::new())
    }

    /// Deploys version 1 with the shipped script on this engine.
    #[track_caller]
    pub fn with_v1_on(docker: Docker) -> Self {
        let app = Self::on(docker);
        let image = apps::manual_image(&app.docker, "v1");
        app.deploy(&image).ok();
        app
    }

    pub fn config(&self, image: &str) -> String {
        let Self { service, volume, port, green_port, settings, tables, .. } = self;
        format!(
            r#"
service = "{service}"
image = "{image}"
container_port = 5000
port = {port}
green_port = {green_port}
volumes = ["{volume}:/app/instance"]
command = ["./startup.sh"]
drain = "5s"
bake = "500ms"
{settings}

[environment]
PORT = "5000"
DATABASE_PATH = "/app/instance/manual_generator.db"

[health]
path = "/health"
timeout = "20s"

[database]
volume = "{volume}"
path = "manual_generator.db"
seed = ["python3", "seed.py"]

{tables}
"#
        )
    }

    pub fn deploy(&self, image: &str) -> Finished {
        self.deployer.deploy("bluegreen.rhai", &self.config(image))
    }

    pub fn start_deploy(&self, image: &str) -> Running {
        self.deployer.start_deploy("bluegreen.rhai", &self.config(image))
    }

    /// Builds an image from version 1 with more instructions.
    pub fn release(&self, tag: &str, instructions: &str) -> String {
        self.docker.derive(&format!("{}:v1", self.service), tag, instructions)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> HttpReply {
        until("a response on the public port", TIMEOUT, || http::get(self.port, path).ok())
    }

    /// Describes what a refused deploy must not change: the container, its start time, its name, and the live version.
    #[track_caller]
    pub fn fingerprint(&self) -> String {
        let container = self.docker.inspect(&self.service);
        let page = self.get("/");
        format!("{} {} {} {}", container["Id"], container["State"]["StartedAt"], container["Name"], page.version)
    }

    /// Asserts that the only container but for kept releases is the service's, and that `version` answers on the public port.
    #[track_caller]
    pub fn serves_alone(&self, version: &str) {
        assert_eq!(self.docker.current_containers(), ["manual"]);
        let answer = self.get("/health");
        assert_eq!((answer.status, answer.version.as_str()), (200, version), "{}", answer.body);
    }

    /// Runs Python code with the database of the app open as `database`, and returns its output.
    #[track_caller]
    pub fn with_database(&self, code: &str) -> String {
        let script = format!(
            "import sqlite3\npath = '/data/manual_generator.db'\ndatabase = sqlite3.connect(path, isolation_level=None)\n{code}\n"
        );
        let mount = format!("{}:/data", self.volume);
        self.docker.cli(&["run", "--rm", "-v", &mount, "python:3.11-slim", "python3", "-c", &script])
    }

    /// Damages a table that the app never reads. The app continues to serve, and only a check can find the damage.
    pub fn damage_database(&self) {
        self.with_database(
            r"
database.execute('CREATE TABLE extra (text TEXT)')
database.executemany('INSERT INTO extra VALUES (?)', [('x' * 100,)] * 500)
page = database.execute('SELECT rootpage FROM sqlite_schema WHERE name = ?', ('extra',)).fetchone()[0]
size = database.execute('PRAGMA page_size').fetchone()[0]
database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
database.close()
with open(path, 'r+b') as file:
    file.seek((page - 1) * size)
    file.write(b'\xff' * size)
",
        );
    }
}
