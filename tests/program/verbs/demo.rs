//! Tests of `deployer demo`: it reports the results of its load generator, and leaves nothing behind.

use nix::sys::signal::Signal;

use crate::support::demo::{Demo, assert_load_results};

#[test]
fn reports_its_results_and_leaves_nothing() {
    let demo = Demo::new("local");
    let done = demo.start().wait().ok();
    assert_load_results(&done.stderr);
    assert!(done.stderr.contains("The deploy of v3 failed its checks and was rolled back"), "{}", done.stderr);
    demo.assert_left_nothing();
}

#[test]
fn leaves_nothing_when_cancelled_at_any_moment() {
    for (moment, signal) in [("\"docker_build\"", Signal::SIGINT), ("Watch the public port", Signal::SIGTERM)] {
        let demo = Demo::new("local");
        let mut run = demo.start();
        run.until(moment, |event| event.to_string().contains(moment));
        run.signal(signal);
        run.wait().code(130).says("the demo was cancelled");
        demo.assert_left_nothing();
    }
}

#[test]
fn prints_no_command_that_needs_its_deleted_journal() {
    let demo = Demo::new("local");
    let output = demo.command("plain").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.contains("Everything that the demo created has been removed"),
        "{stderr}"
    );
    assert!(!stderr.contains("deployer show") && !stderr.contains("--state"), "{stderr}");
}
