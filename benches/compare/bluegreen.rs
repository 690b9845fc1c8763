//! A blue-green deploy of an app that is ready at once: deployer against the same steps with the docker CLI.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::deployer::Deployer;
use crate::support::docker::Docker;
use crate::support::ports::free_port;
use crate::support::steady_client::{ClientReport, SteadyClient};
use crate::table::{Table, median};

const ROUNDS: usize = 5;
const RATE: u32 = 100;

/// A careful shell script: starts green beside blue, waits, stops blue, starts the new container on the public port,
/// waits.
const SHELL_SCRIPT: &str = r#"
set -eu
name=$1 image=$2 port=$3 green_port=$4
wait_for() { until curl -fsS -o /dev/null "http://127.0.0.1:$1/" 2>/dev/null; do sleep 0.05; done; }
docker run -d --name "$name-green" -p "$green_port:80" "$image" >/dev/null
wait_for "$green_port"
docker create --name "$name-next" -p "$port:80" "$image" >/dev/null
docker stop -t 5 "$name" >/dev/null
docker start "$name-next" >/dev/null
wait_for "$port"
docker rm "$name" >/dev/null
docker rename "$name-next" "$name"
docker rm -f "$name-green" >/dev/null
"#;

struct Side {
    name: String,
    port: u16,
    green_port: u16,
    times: Vec<Duration>,
    load_results: Vec<ClientReport>,
}

impl Side {
    fn new(docker: &Docker, name: &str) -> Self {
        Self {
            name: docker.name(name),
            port: free_port(),
            green_port: free_port(),
            times: vec![],
            load_results: vec![],
        }
    }

    fn round(&mut self, deploy: impl FnOnce(&Self)) {
        let client = SteadyClient::start(self.port, "/", RATE);
        let begin = Instant::now();
        deploy(self);
        let time = begin.elapsed();
        self.times.push(time);
        self.load_results.push(client.finish());
    }

    fn longest_gaps(&self) -> Vec<Duration> {
        self.load_results.iter().map(|report| report.longest_gap).collect()
    }
}

/// An image with the busybox web server, which starts and stops at once.
fn image(docker: &Docker, version: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| std::fs::metadata(path).is_ok());
    std::fs::copy(busybox.expect("busybox-static"), folder.path().join("busybox")).expect("room");
    std::fs::write(folder.path().join("index.html"), version).expect("room");
    // As process 1, httpd would ignore SIGTERM, so a shell with a trap starts it.
    let start = "trap 'exit 0' TERM; /busybox httpd -f -p 80 -h /www & wait";
    let dockerfile = format!(
        "FROM scratch\nCOPY busybox /busybox\nCOPY index.html /www/index.html\nEXPOSE 80\nCMD [\"/busybox\", \"sh\", \"-c\", \"{start}\"]\n"
    );
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("room");
    docker.build(folder.path(), "app", version)
}

fn deploy_by_shell(side: &Side, image: &str) {
    let (port, green_port) = (side.port.to_string(), side.green_port.to_string());
    let args = ["-c", SHELL_SCRIPT, "sh", &side.name, image, &port, &green_port];
    assert!(Command::new("sh").args(args).status().expect("a shell").success());
}

fn deploy_by_deployer(deployer: &Deployer, side: &Side, image: &str) {
    let Side { name, port, green_port, .. } = side;
    let config = format!(
        "service = \"{name}\"\nimage = \"{image}\"\ncontainer_port = 80\nport = {port}\ngreen_port = {green_port}\n\
         drain = \"5s\"\nbake = \"0s\"\n"
    );
    deployer.deploy("bluegreen.rhai", &config).ok();
}

pub fn table() {
    let docker = Docker::new();
    let images = [image(&docker, "v1"), image(&docker, "v2")];
    let deployer = Deployer::docker();
    let mut shell = Side::new(&docker, "shell");
    let mut deployer_side = Side::new(&docker, "deployer");
    docker.cli(&["run", "-d", "--name", &shell.name, "-p", &format!("{}:80", shell.port), &images[0]]);
    deploy_by_deployer(&deployer, &deployer_side, &images[0]);
    for round in 0..ROUNDS {
        let image = &images[(round + 1) % 2];
        shell.round(|side| deploy_by_shell(side, image));
        deployer_side.round(|side| deploy_by_deployer(&deployer, side, image));
    }
    let mut table = Table::new("blue-green, app ready at once", &["median", "ratio", "longest gap", "failed of sent"]);
    let base = median(&shell.times);
    for (name, side) in [("docker CLI in a shell script", &shell), ("deployer run bluegreen.rhai", &deployer_side)] {
        let time = median(&side.times);
        let sum = |count: fn(&ClientReport) -> u64| side.load_results.iter().map(count).sum::<u64>();
        let cells = [
            format!("{} ms", time.as_millis()),
            format!("{:.2}", time.as_secs_f64() / base.as_secs_f64()),
            format!("{} ms", median(&side.longest_gaps()).as_millis()),
            format!("{} of {}", sum(|report| report.failed), sum(|report| report.sent)),
        ];
        table.row(name, &cells);
    }
    table.print();
}
