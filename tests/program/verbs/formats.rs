//! Output formats: documented JSON, the same timeline live and later, narrow terminals, closed pipes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;

use super::service::Service;
use crate::support::deployer::Deployer;
use crate::support::snapshot::normalize;

const EVENTS: &str = include_str!("../../../docs/src/events.md");

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

/// Returns whether the documentation lists the field for an entry, or for all entries.
fn is_documented(entry: &str, field: &str) -> bool {
    let section = EVENTS.split("\n## ").find(|section| section.starts_with(&format!("`{entry}`")));
    let section = section.unwrap_or_else(|| panic!("`{entry}` is not documented"));
    ["run", "n", "at_ms", "entry"].contains(&field) || section.contains(&format!("`{field}`"))
}

#[test]
fn json_is_documented_and_the_same_in_show() {
    let service = Service::with_v1("");
    let config = service.config("v2", "STATUS = \"500\"");
    let args = ["--config", &config, "--format", "json", "--set", "health.timeout=1s"];
    let live = service.deployer.run("bluegreen.rhai", &args).code(1);
    let events = json(&live.stdout);
    for event in &events {
        let entry = event["entry"].as_str().unwrap();
        let fields = event.as_object().unwrap().keys().map(String::as_str);
        let inner = ["header", "intent", "end", "error"].iter().filter_map(|key| event[key].as_object());
        for field in fields.chain(inner.flat_map(|object| object.keys().map(String::as_str))) {
            assert!(is_documented(entry, field), "{entry}: `{field}`");
        }
    }
    let recorded: Vec<_> = events.iter().filter(|event| event["entry"] != "progress").cloned().collect();
    let numbers: Vec<_> = recorded.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=recorded.len() as u64).collect::<Vec<_>>());
    let shown = service.deployer.call(&["show", "last", "--format", "json"]).ok();
    assert_eq!(json(&shown.stdout), recorded);
    assert_eq!(recorded.last().unwrap()["end"]["exit_code"], 1);
}

#[test]
fn show_prints_the_same_timeline_as_the_run() {
    let service = Service::with_v1("");
    // Only the broken version waits for its timeout.
    for (version, more, code, timeout) in [("v2", "", 0, "60s"), ("v3", "STATUS = \"500\"", 1, "1s")] {
        let timeout = format!("health.timeout={timeout}");
        let config = service.config(version, more);
        for format in ["plain", "pretty"] {
            let args = ["--config", &config, "--format", format, "--set", &timeout];
            let live = service.deployer.run("bluegreen.rhai", &args).code(code);
            let shown = service.deployer.call(&["show", "last", "--format", format]).ok();
            assert_eq!(shown.stderr, "", "`show` prints its result to standard output");
            let lines = |text: &str| {
                // Progress is not stored.
                let without_progress =
                    text.lines().filter(|line| !line.trim_start().starts_with("...")).collect::<Vec<_>>();
                normalize(&without_progress.join("\n"), &[])
            };
            assert_eq!(lines(&shown.stdout), lines(&live.stderr));
        }
    }
}

#[test]
fn data_goes_to_stdout_and_messages_go_to_stderr() {
    let deployer = Deployer::local();
    let script = deployer.file("say.rhai", "print(\"data\"); log(\"talk\"); step \"One\" { volume_create(\"v\"); }");
    let done = deployer.run(&script, &[]).ok();
    assert_eq!(done.stdout, "data\n");
    assert!(done.stderr.contains("talk") && done.stderr.contains("step  One"), "{}", done.stderr);
    let quiet = deployer.run(&script, &["--format", "json"]).ok();
    assert_eq!(quiet.stderr, "");
    assert!(json(&quiet.stdout).iter().any(|event| event["text"] == "data" && event["level"] == "print"));
}

#[test]
fn a_script_can_come_from_standard_input_and_has_help() {
    let deployer = Deployer::local();
    let mut command = deployer.command(&["run", "-", "--engine", "local", "--set", "name=you"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let text = "let p = params(#{ name: required(\"string\", \"who\") }); print(`hello ${p.name}`);";
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"hello you\n".as_slice()));

    let script = deployer.file("mine.rhai", text);
    let help = deployer.call(&["run", &script, "--help"]).ok();
    assert!(
        help.stdout.starts_with("Usage: deployer run ")
            && help.stdout.contains("  name  who\n        [string, required]")
    );
    deployer.call(&["run", "bluegreen.rhai", "--help"]).ok().says("health.timeout").says("Blue-green deploy");
}

#[test]
fn run_history_shows_how_each_run_ended() {
    let deployer = Deployer::local();
    let run = |text: &str| deployer.run(&deployer.file("one.rhai", text), &[]);
    run("volume_create(\"v\");").ok();
    run("fail(\"for a reason\");").code(1);
    let mut killed = deployer.watch_run(&deployer.file("two.rhai", "sleep(\"60s\");"), &[]);
    killed.until_intended("sleep");
    let running = deployer.call(&["runs"]).ok();
    assert!(running.stdout.lines().nth(1).unwrap().contains("running"), "{}", running.stdout);
    killed.kill();
    let table = deployer.call(&["runs"]).ok();
    let lines: Vec<_> = table.stdout.lines().collect();
    assert!(lines[1].contains("killed") && lines[2].contains("for a reason") && lines[3].contains("succeeded"));
    let rows = json(&deployer.call(&["runs", "--format", "json"]).ok().stdout);
    let status: Vec<_> = rows.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["killed", "failed", "succeeded"]);
    assert_eq!(deployer.call(&["runs", "--limit", "1"]).ok().stdout.lines().count(), 2);
}

#[test]
fn narrow_wide_and_invalid_terminal_widths() {
    for (columns, max_width) in [("60", 60), ("1", 40), ("0", 40), ("x", 100), ("18446744073709551615", 1_000)] {
        let deployer = Deployer::local().env("COLUMNS", columns);
        deployer.run(&deployer.file("one.rhai", "fail(\"for a reason that is longer than a line\");"), &[]).code(1);
        let table = deployer.call(&["runs"]).ok().stdout;
        assert!(table.lines().all(|line| line.chars().count() <= max_width), "{columns}: {table}");
        let timeline = deployer.call(&["show", "last", "--format", "pretty"]).ok();
        assert!(!timeline.said().contains('\u{1b}'), "no colour");
        deployer.run("nothing.rhai", &[]).code(2).says("there is no script `nothing.rhai`");
    }
}

#[test]
fn a_closed_pipe_does_not_affect_the_run() {
    let service = Service::with_v1("");
    let config = service.config("v2", "");
    for (number, format) in ["json", "plain", "pretty"].iter().enumerate() {
        let set = format!("build_args.VERSION=w{number}");
        let args =
            ["run", "bluegreen.rhai", "--engine", "local", "--config", &config, "--set", &set, "--format", format];
        let mut child = service.deployer.command(&args).spawn().unwrap();
        let mut line = String::new();
        if *format == "json" {
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert!(line.contains("run_started"), "{line}");
        }
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}");
        service.serves_alone(&format!("w{number}"));
    }
    for args in [&["runs"][..], &["show", "last"], &["run", "bluegreen.rhai", "--help"], &["check", "nothing"]] {
        let mut child = service.deployer.command(args).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert!([Some(0), Some(2)].contains(&child.wait().unwrap().code()), "{args:?}");
    }
}

#[test]
fn a_signal_cancels_a_run_whose_pipes_are_closed() {
    let service = Service::with_v1("");
    let config = service.config("v2", "");
    let args = ["run", "bluegreen.rhai", "--engine", "local", "--config", &config, "--set", "bake=10m"];
    let mut child = service.deployer.command(&args).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    crate::support::until("v2", || (service.version() == "v2").then_some(()));
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    service.serves_alone("v1");
}

#[test]
fn output_that_cannot_be_written() {
    let deployer = Deployer::local();
    let script = deployer.file("one.rhai", "print(\"data\"); volume_create(\"v\");");
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let code = |args: &[&str]| deployer.command(args).stdout(full()).stderr(full()).status().unwrap().code();
    assert_eq!(code(&["run", &script, "--engine", "local"]), Some(0));
    assert_eq!(code(&["run", &script, "--engine", "local", "--format", "json"]), Some(0));
    assert_eq!(code(&["run", &script, "--help"]), Some(2));
    assert_eq!(code(&["runs"]), Some(2), "a list that cannot be written is a failure");
    assert_eq!(code(&["check", &script]), Some(0));
    assert_eq!(code(&["run", "nothing.rhai"]), Some(2));

    let closed = format!("exec {} run {script} --engine local <&- >&- 2>&-", env!("CARGO_BIN_EXE_deployer"));
    let state = deployer.state().to_str().unwrap();
    let status = std::process::Command::new("sh").args(["-c", &closed]).env("DEPLOYER_STATE", state).status();
    assert_eq!(status.unwrap().code(), Some(0));
}
