use std::path::Path;
use std::time::{Duration, Instant};

use deployer::effect::{Applied, ErrorKind};
use serde_json::json;

use super::{Fixture, SECRET};
use crate::support::until;

/// Whether a process runs, and is not a zombie.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

fn pid_in(file: &Path) -> String {
    until("a pid in the file", || std::fs::read_to_string(file).ok().filter(|text| text.ends_with('\n')))
        .trim()
        .to_owned()
}

/// A shell command that starts a grandchild, writes its pid to `file` and waits. With `stubborn`, both ignore SIGTERM.
fn with_grandchild(file: &Path, stubborn: bool) -> String {
    let trap = if stubborn { "trap '' TERM; " } else { "" };
    format!("{trap}sh -c '{trap}echo $$ > {}; while :; do sleep 1; done' & wait", file.display())
}

#[tokio::test]
async fn runs_programs_with_their_input_environment_and_folder() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let secret = json!({"secret_text": [{"secret": "TOKEN"}]});
    let result = fixture
        .ask(
            "exec",
            json!({
                "shell": "cat; printf %s \"$KEY\" >&2; pwd",
                "stdin": "typed\n", "environment": {"KEY": secret}, "working_dir": folder.path(),
            }),
        )
        .await
        .unwrap();
    assert_eq!(result["stdout"], format!("typed\n{}\n", folder.path().display()));
    assert_eq!(result["stderr"], SECRET);
    let args = fixture.ask("exec", json!({"command": ["printf", "%s|", "a b", "$HOME", "*"]})).await.unwrap();
    assert_eq!(args["stdout"], "a b|$HOME|*|");
    let ignored_stdin = fixture.ask("exec", json!({"command": ["true"], "stdin": "x".repeat(1 << 20)})).await.unwrap();
    assert_eq!(ignored_stdin["exit_code"], 0);
}

#[tokio::test]
async fn exit_codes_are_those_of_a_shell() {
    let fixture = Fixture::new();
    let error = fixture.refused("exec", json!({"shell": "echo why >&2; exit 3"})).await;
    assert_eq!((error.kind, error.applied), (ErrorKind::Failed, Applied::Unknown));
    assert_eq!(error.message, "`echo why >&2; exit 3` ended with exit code 3");
    assert_eq!(error.detail.as_deref(), Some("why"));
    let killed = fixture.ask("exec", json!({"shell": "kill -9 $$", "check": false})).await.unwrap();
    assert_eq!(killed["exit_code"], 137);
}

#[tokio::test]
async fn programs_that_cannot_start_have_distinct_errors() {
    let fixture = Fixture::new();
    let plain = tempfile::NamedTempFile::new().unwrap();
    for (args, kind) in [
        (json!({"command": ["no-such-program-here"]}), ErrorKind::MissingTool),
        (json!({"command": [plain.path()]}), ErrorKind::Refused),
        (json!({"command": ["true"], "working_dir": "/no/such/folder"}), ErrorKind::NotFound),
        (json!({"command": ["true", "a\0b"]}), ErrorKind::Invalid),
        (json!({"command": [""]}), ErrorKind::Invalid),
        (json!({}), ErrorKind::Invalid),
        (json!({"command": ["true"], "shell": "true"}), ErrorKind::Invalid),
        (json!({"command": ["true"], "environment": {"A=B": "x"}}), ErrorKind::Invalid),
    ] {
        let error = fixture.refused("exec", args.clone()).await;
        assert_eq!((error.kind, error.applied), (kind, Applied::No), "{args}: {error}");
    }
}

#[tokio::test]
async fn only_the_end_of_much_output_is_kept() {
    let line = "head -c 100000000 /dev/zero | tr '\\0' x; echo the end";
    let result = Fixture::new().ask("exec", json!({"shell": line, "output_limit": "1k"})).await.unwrap();
    let stdout = result["stdout"].as_str().unwrap();
    assert_eq!((stdout.len(), &result["truncated"]), (1024, &json!(true)));
    assert!(stdout.ends_with("xxthe end\n"));
}

#[tokio::test]
async fn a_timeout_ends_grandchildren_too() {
    let folder = tempfile::tempdir().unwrap();
    for stubborn in [false, true] {
        let file = folder.path().join(format!("pid-{stubborn}"));
        let args = json!({"shell": with_grandchild(&file, stubborn), "timeout": "500ms"});
        let error = Fixture::new().refused("exec", args).await;
        assert_eq!(error.kind, ErrorKind::Timeout);
        let pid = pid_in(&file);
        until("the grandchild is gone", || (!is_alive(&pid)).then_some(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_or_a_dropped_call_ends_grandchildren_too() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    let (cancelled, dropped) = (folder.path().join("cancelled"), folder.path().join("dropped"));
    let (cancel, file) = (fixture.call.cancel.clone(), cancelled.clone());
    let canceller = std::thread::spawn(move || {
        let pid = pid_in(&file);
        cancel.cancel();
        (pid, Instant::now())
    });
    let error = fixture.refused("exec", json!({"shell": with_grandchild(&cancelled, false)})).await;
    assert_eq!(error.kind, ErrorKind::Cancelled);
    let (pid, cancelled_at) = canceller.join().unwrap();
    assert!(cancelled_at.elapsed() < Duration::from_secs(2));
    until("the grandchild is gone", || (!is_alive(&pid)).then_some(()));

    let fixture = Fixture::new();
    let line = with_grandchild(&dropped, true);
    let task = tokio::spawn(async move { fixture.ask("exec", json!({"shell": line})).await });
    let pid = tokio::task::spawn_blocking(move || pid_in(&dropped)).await.unwrap();
    task.abort();
    tokio::task::spawn_blocking(move || until("the grandchild is gone", || (!is_alive(&pid)).then_some(())))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_background_process_neither_blocks_the_call_nor_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let line = format!("sleep 300 & echo $! > {}; echo started", file.display());
    let result = Fixture::new().ask("exec", json!({"shell": line, "timeout": "20s"})).await.unwrap();
    assert_eq!(result["stdout"], "started\n");
    let pid = pid_in(&file);
    assert!(is_alive(&pid));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.parse().unwrap()), nix::sys::signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn progress_is_redacted() {
    let mut fixture = Fixture::new();
    let progress = fixture.record_progress();
    let secret = json!({"secret_text": [{"secret": "TOKEN"}]});
    fixture.ask("exec", json!({"shell": "echo it is $KEY", "environment": {"KEY": secret}})).await.unwrap();
    assert_eq!(progress.lock().unwrap().as_slice(), ["it is <secret TOKEN>"]);
}
