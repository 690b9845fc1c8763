//! From an empty folder to a deployed service, and the daily commands, on the local engine.

use std::fs;

use serde_json::Value;

use crate::support::deployer::Deployer;
use crate::support::http;
use crate::support::ports::free_port;

const APP: &str = r"
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ['VERSION'].encode())
    def log_message(self, *_):
        print('asked for', self.path, flush=True)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
HTTPServer(('127.0.0.1', int(os.environ['PORT'])), App).serve_forever()
";

/// Creates a folder with an app, as for a new user.
fn new_project() -> Deployer {
    let deployer = Deployer::local();
    deployer.file("app.py", APP);
    deployer.file(
        "Dockerfile",
        "FROM scratch\nARG VERSION=v1\nENV VERSION=${VERSION}\nCOPY app.py /app/\nEXPOSE 5000\nCMD [\"python3\", \"-u\", \"/app/app.py\"]\n",
    );
    deployer
}

/// Adds `--engine local` to a command.
fn on_local<'a>(command: &[&'a str]) -> Vec<&'a str> {
    [command, &["--engine", "local"]].concat()
}

#[test]
fn init_reads_the_files_of_the_folder() {
    let deployer = new_project();
    deployer.file("compose.yml", "services: {}\n");
    let init = deployer.call(&on_local(&["init", "shop", "--copy"])).ok();
    init.says("deployer.toml: created for service `shop`").says("port 5000").says("compose.yml").says("next: ");
    let text = fs::read_to_string(deployer.home().join("deployer.toml")).unwrap();
    let file: toml::Table = text.parse().unwrap();
    assert_eq!((file["service"].as_str(), file["container_port"].as_integer()), (Some("shop"), Some(5000)));
    assert!(text.contains("# file = \"compose.yml\""), "{text}");
    deployer.call(&["check", "bluegreen.rhai"]).ok();
    deployer.call(&on_local(&["init"])).code(2).says("already exists");
}

#[test]
fn new_copies_a_script_for_changes() {
    let deployer = new_project();
    deployer.call(&["new", "rollback", "back.rhai"]).ok().says("deployer run ./back.rhai");
    deployer.call(&["check", "back.rhai"]).ok();
    deployer.call(&["new", "rollback", "back.rhai"]).code(2).says("already exists");
    // If the configuration file selects the script, the output says what to change there.
    deployer.file("deployer.toml", "script = \"rollback.rhai\"\n");
    deployer.call(&["new", "rollback", "own.rhai"]).ok().says("`script = \"./own.rhai\"` in deployer.toml");
    fs::remove_file(deployer.home().join("deployer.toml")).unwrap();
    deployer.call(&on_local(&["deploy"])).code(2).says("`deployer init`").says("`deployer run SCRIPT`");
    for verb in ["run", "plan", "verify"] {
        deployer.call(&on_local(&[verb])).code(2).says(&format!("no script given: `deployer {verb} SCRIPT`"));
    }
    deployer.call(&["new", "bluegren"]).code(2).says("did you mean `bluegreen`?");
}

#[test]
fn from_the_first_file_to_a_rollback() {
    let deployer = new_project();
    let (port, green, staging) = (free_port(), free_port(), free_port());
    deployer.file(
        "deployer.toml",
        &format!(
            "script = \"bluegreen.rhai\"\nservice = \"shop\"\nbuild = \".\"\nport = {port}\ngreen_port = {green}\nbake = \"0s\"\ndrain = \"1s\"\n\n[build_args]\nVERSION = \"v1\"\n\n[env.staging]\nservice = \"shop-staging\"\nport = {staging}\n"
        ),
    );
    // `deployer.toml` is found automatically, and selects the script.
    deployer.call(&on_local(&["plan"])).code(10).says("bluegreen.rhai on ");
    deployer.call(&on_local(&["plan", "--env", "stagin"])).code(2).says("did you mean `staging`?");
    deployer.call(&["check"]).ok().says("bluegreen.rhai: no errors");
    assert_eq!(deployer.call(&["check", "--format", "json"]).ok().stdout, "");
    deployer.call(&on_local(&["run"])).ok();
    assert_eq!(http::get(port, "/").unwrap().body, "v1");
    deployer.call(&on_local(&["deploy", "--plan-first", "--yes", "--set", "build_args.VERSION=v2"])).ok();
    assert_eq!(http::get(port, "/").unwrap().body, "v2");
    deployer.call(&on_local(&["run", "--env", "stagin"])).code(2).says("did you mean `staging`?");
    deployer.call(&on_local(&["deploy", "--env", "staging"])).ok();
    assert_eq!(http::get(staging, "/").unwrap().body, "v1");

    let staging_runs = deployer.call(&["runs", "--service", "shop-staging"]).ok().stdout;
    assert!(staging_runs.lines().count() == 2 && staging_runs.contains("shop-staging"), "{staging_runs}");
    let deprecated = deployer.call(&on_local(&["releases", "shop", "--json"])).ok();
    assert!(deprecated.stderr.contains("use `--format json`"), "{}", deprecated.stderr);
    let releases = deployer.call(&on_local(&["releases", "shop", "--format", "json"])).ok().stdout;
    assert_eq!(releases, deprecated.stdout);
    let releases: Vec<Value> = releases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(releases.iter().any(|release| release["state"] == "serves"), "{releases:?}");
    assert!(releases.iter().any(|release| release["state"] == "before"), "{releases:?}");
    deployer.call(&on_local(&["releases", "unknown"])).code(2).says("deployer status");

    deployer.call(&on_local(&["logs", "shop", "-n", "5"])).ok().says("asked for /");
    deployer.call(&["logs", "last"]).ok().says("bluegreen.rhai");
    let inside = ["exec", "shop", "--engine", "local", "--", "sh", "-c", "echo in $VERSION; exit 7"];
    deployer.call(&inside).code(7).says("in v2");
    deployer.call(&["exec", "unknown", "--engine", "local", "--", "true"]).code(2).says("deployer status");
    deployer.call(&["show", "last"]).ok().says("deployer exec");

    // Another script uses those keys of the file that it declares.
    deployer.call(&on_local(&["rollback", "shop"])).ok();
    assert_eq!(http::get(port, "/").unwrap().body, "v1");
    for service in ["shop", "shop-staging"] {
        deployer.file("remove.rhai", &format!("docker_remove(\"{service}\", #{{force: true, disposable: true}});"));
        deployer.call(&on_local(&["run", "remove.rhai"])).ok();
    }
}

#[test]
fn doctor_reports_problems_and_their_fixes() {
    let deployer = new_project();
    let report = deployer.call(&on_local(&["doctor"])).ok().stdout;
    for check in ["journal", "engine", "clock", "disk", "compose", "git", "proxy"] {
        assert!(report.contains(&format!(" {check:8}  ")), "no `{check}` in\n{report}");
    }
    deployer.call(&["doctor", "--docker-host", "unix:///nowhere.sock"]).code(1).says("✗ engine").says("-> ");
    let json = deployer.call(&["doctor", "--docker-host", "unix:///nowhere.sock", "--format", "json"]).code(1).stdout;
    let checks = json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(checks.into_iter().any(|check| check["of"] == "engine" && check["state"] == "wrong"));
}

#[test]
fn shells_complete_live_names() {
    let deployer = super::session::engine();
    let inputs = "docker_build(#{context: \"app\", tag: \"hello:v1\"});\ndocker_run(#{name: \"greeter\", image: \"hello:v1\", service: \"greeter\"});\n";
    super::session::piped(&deployer, &[], inputs).ok();
    deployer.call(&["completions", "bash"]).ok().says("COMPLETE=");
    deployer.call(&["completions", "zsh"]).ok().says("#compdef deployer");
    // Calls the program as bash does: the words so far, and the index of the one to complete.
    let complete = |words: &[&str]| {
        let output = deployer
            .command(&[&["--", "deployer"], words].concat())
            .envs([
                ("COMPLETE", "bash"),
                ("_CLAP_IFS", "\n"),
                ("_CLAP_COMPLETE_SPACE", "false"),
                ("_CLAP_COMPLETE_COMP_TYPE", "9"),
            ])
            .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(complete(&["rol"]).contains("rollback"), "{}", complete(&["rol"]));
    assert!(complete(&["logs", "--engine", "local", "gr"]).contains("greeter"));
    assert!(complete(&["run", "blue"]).contains("bluegreen.rhai"));
    super::session::piped(&deployer, &["--yes"], "docker_remove(\"greeter\", #{force: true})").ok();
}

#[test]
fn manual_pages_are_written() {
    let deployer = new_project();
    deployer.call(&["man", "pages"]).ok();
    let page = |name: &str| fs::read_to_string(deployer.home().join("pages").join(name)).unwrap();
    assert!(page("deployer.1").contains(".TH deployer"), "{}", page("deployer.1"));
    assert!(page("deployer-run.1").contains("lock\\-wait"));
}
