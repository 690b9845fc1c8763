//! From an empty folder to a deployed service, and the verbs of every day, on the local engine.

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

/// A home with an app in it, as somebody begins.
fn home() -> Deployer {
    let deployer = Deployer::local();
    deployer.file("app.py", APP);
    deployer.file(
        "Dockerfile",
        "FROM scratch\nARG VERSION=v1\nENV VERSION=${VERSION}\nCOPY app.py /app/\nEXPOSE 5000\nCMD [\"python3\", \"-u\", \"/app/app.py\"]\n",
    );
    deployer
}

fn engine<'a>(verb: &[&'a str]) -> Vec<&'a str> {
    [verb, &["--engine", "local"]].concat()
}

#[test]
fn a_project_begins_with_what_its_folder_holds() {
    let deployer = home();
    deployer.file("compose.yml", "services: {}\n");
    let init = deployer.call(&engine(&["init", "shop", "--copy"])).ok();
    init.says("written for service `shop`").says("port 5000").says("compose.yml").says("next: ");
    let text = fs::read_to_string(deployer.home().join("deployer.toml")).unwrap();
    let file: toml::Table = text.parse().unwrap();
    assert_eq!((file["service"].as_str(), file["container_port"].as_integer()), (Some("shop"), Some(5000)));
    assert!(text.contains("# file = \"compose.yml\""), "{text}");
    deployer.call(&["check", "bluegreen.rhai"]).ok();
    deployer.call(&engine(&["init"])).code(2).says("is there already");
}

#[test]
fn a_script_is_copied_to_be_changed() {
    let deployer = home();
    deployer.call(&["new", "rollback", "back.rhai"]).ok().says("deployer run ./back.rhai");
    deployer.call(&["check", "back.rhai"]).ok();
    deployer.call(&["new", "rollback", "back.rhai"]).code(2).says("is there already");
    // Where a file says what is run, what to write there.
    deployer.file("deployer.toml", "script = \"rollback.rhai\"\n");
    deployer.call(&["new", "rollback", "own.rhai"]).ok().says("`script = \"./own.rhai\"` in deployer.toml");
    fs::remove_file(deployer.home().join("deployer.toml")).unwrap();
    for verb in ["run", "plan", "verify"] {
        deployer.call(&engine(&[verb])).code(2).says(&format!("which script? `deployer {verb} SCRIPT`"));
    }
    deployer.call(&["new", "bluegren"]).code(2).says("did you mean `bluegreen`?");
}

#[test]
fn from_the_first_file_to_a_rollback() {
    let deployer = home();
    let (port, green, staging) = (free_port(), free_port(), free_port());
    deployer.file(
        "deployer.toml",
        &format!(
            "script = \"bluegreen.rhai\"\nservice = \"shop\"\nbuild = \".\"\nport = {port}\ngreen_port = {green}\nbake = \"0s\"\ndrain = \"1s\"\n\n[build_args]\nVERSION = \"v1\"\n\n[env.staging]\nservice = \"shop-staging\"\nport = {staging}\n"
        ),
    );
    // The file is found by itself, and names the script.
    deployer.call(&engine(&["plan"])).code(10).says("bluegreen.rhai on ");
    deployer.call(&engine(&["plan", "--env", "stagin"])).code(2).says("did you mean `staging`?");
    deployer.call(&engine(&["run"])).ok();
    assert_eq!(http::get(port, "/").unwrap().body, "v1");
    deployer.call(&engine(&["run", "--set", "build_args.VERSION=v2"])).ok();
    assert_eq!(http::get(port, "/").unwrap().body, "v2");
    deployer.call(&engine(&["run", "--env", "stagin"])).code(2).says("did you mean `staging`?");
    deployer.call(&engine(&["run", "--env", "staging"])).ok();
    assert_eq!(http::get(staging, "/").unwrap().body, "v1");

    let releases = deployer.call(&engine(&["releases", "shop", "--json"])).ok().stdout;
    let releases: Vec<Value> = releases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(releases.iter().any(|release| release["state"] == "serves"), "{releases:?}");
    assert!(releases.iter().any(|release| release["state"] == "before"), "{releases:?}");
    deployer.call(&engine(&["releases", "nobody"])).code(2).says("deployer status");

    deployer.call(&engine(&["logs", "shop", "-n", "5"])).ok().says("asked for /");
    deployer.call(&["logs", "last"]).ok().says("bluegreen.rhai");
    let inside = ["exec", "shop", "--engine", "local", "--", "sh", "-c", "echo in $VERSION; exit 7"];
    deployer.call(&inside).code(7).says("in v2");
    deployer.call(&["exec", "nobody", "--engine", "local", "--", "true"]).code(2).says("deployer status");
    deployer.call(&["show", "last"]).ok().says("deployer exec");

    // Another script takes of the file what it declares too.
    deployer.call(&engine(&["rollback", "shop"])).ok();
    assert_eq!(http::get(port, "/").unwrap().body, "v1");
    for service in ["shop", "shop-staging"] {
        deployer.file("gone.rhai", &format!("docker_remove(\"{service}\", #{{force: true, disposable: true}});"));
        deployer.call(&engine(&["run", "gone.rhai"])).ok();
    }
}

#[test]
fn the_doctor_tells_what_is_wrong_and_how_to_mend_it() {
    let deployer = home();
    let told = deployer.call(&engine(&["doctor"])).ok().stdout;
    for of in ["journal", "engine", "clock", "disk", "compose", "git", "proxy"] {
        assert!(told.contains(&format!(" {of:8}  ")), "no `{of}` in\n{told}");
    }
    deployer.call(&["doctor", "--docker-host", "unix:///nowhere.sock"]).code(1).says("✗ engine").says("-> ");
    let json = deployer.call(&["doctor", "--docker-host", "unix:///nowhere.sock", "--json"]).code(1).stdout;
    let wrong = json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(wrong.into_iter().any(|one| one["of"] == "engine" && one["state"] == "wrong"));
}

#[test]
fn shells_complete_live_names() {
    let deployer = crate::session::engine();
    let inputs = "docker_build(#{context: \"app\", tag: \"hello:v1\"});\ndocker_run(#{name: \"greeter\", image: \"hello:v1\", service: \"greeter\"});\n";
    crate::session::piped(&deployer, &[], inputs).ok();
    deployer.call(&["completions", "bash"]).ok().says("COMPLETE=");
    deployer.call(&["completions", "zsh"]).ok().says("#compdef deployer");
    // As bash asks: the words so far, and which of them is meant.
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
    crate::session::piped(&deployer, &["--yes"], "docker_remove(\"greeter\", #{force: true})").ok();
}

#[test]
fn manual_pages_are_written() {
    let deployer = home();
    deployer.call(&["man", "pages"]).ok();
    let page = |name: &str| fs::read_to_string(deployer.home().join("pages").join(name)).unwrap();
    assert!(page("deployer.1").contains(".TH deployer"), "{}", page("deployer.1"));
    assert!(page("deployer-run.1").contains("lock\\-wait"));
}
