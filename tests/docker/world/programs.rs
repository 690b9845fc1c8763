//! Programs inside containers.

use deployer::effect::ErrorKind;
use deployer::effect::container::{ExecInContainer, StopContainer};
use serde_json::json;

use super::bench::{Bench, SECRET, eventually, refused, unchanged};

#[tokio::test]
async fn a_program_returns_its_output_and_exit_code() {
    let bench = Bench::new().await;
    bench.shell("web", "sleep 1000").await;
    let exec = async |command: &str, more: serde_json::Value| {
        let mut request = json!({"container": bench.name("web"), "command": ["sh", "-c", command]});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.json::<ExecInContainer>(request).await
    };
    let result = exec("echo out; echo err >&2; exit 3", json!({"check": false})).await.unwrap();
    assert_eq!((result.exit_code, result.stdout.as_str(), result.stderr.as_str()), (3, "out\n", "err\n"));
    assert!(!result.truncated);

    let secret =
        json!({"environment": {"TOKEN": {"secret_text": [{"secret": "TOKEN"}]}}, "working_dir": "/bin", "user": "7:7"});
    let result = exec("echo $TOKEN; pwd; id -u", secret).await.unwrap();
    assert_eq!(result.stdout, format!("{SECRET}\n/bin\n7\n"));

    let error = refused(exec("echo why >&2; exit 4", json!({})).await, ErrorKind::Failed);
    assert!(error.message.ends_with("ended with exit code 4"), "{error}");
    assert_eq!(error.detail.as_deref(), Some("why\n"));

    let result =
        exec("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done", json!({"output_limit": 20})).await;
    let result = result.unwrap();
    assert!(result.truncated && result.stdout.len() <= 20 && result.stdout.ends_with("line 4999\n"), "{result:?}");
}

#[tokio::test]
async fn a_program_is_killed_at_its_timeout() {
    let bench = Bench::new().await;
    bench.shell("web", "sleep 1000").await;
    let request = json!({"container": bench.name("web"), "command": ["sleep", "4321"], "timeout": "300ms"});
    let error = refused(bench.json::<ExecInContainer>(request).await, ErrorKind::Timeout);
    assert!(error.message.contains("`sleep 4321`"), "{error}");
    eventually("the program is gone", || async {
        let request = json!({"container": bench.name("web"), "command": ["ps"]});
        let processes = bench.json::<ExecInContainer>(request).await.unwrap().stdout;
        (!processes.contains("sleep 4321")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn reports_why_a_program_cannot_run() {
    let bench = Bench::new().await;
    bench.shell("web", "sleep 1000").await;
    let request = json!({"container": bench.name("web"), "command": ["no-such-program"]});
    let error = bench.json::<ExecInContainer>(request).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Failed | ErrorKind::Invalid), "{error:?}");
    assert!(format!("{error:?}").contains("no-such-program"));
    bench.json::<StopContainer>(json!({"container": bench.name("web"), "grace": "0s"})).await.unwrap();
    let request = json!({"container": bench.name("web"), "command": ["ls"]});
    unchanged(&refused(bench.json::<ExecInContainer>(request).await, ErrorKind::Conflict));
    let request = json!({"container": "deployer-missing", "command": ["ls"]});
    unchanged(&refused(bench.json::<ExecInContainer>(request).await, ErrorKind::NotFound));
}
