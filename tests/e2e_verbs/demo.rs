//! `deployer demo`: it shows what visitors notice, and leaves nothing.

use nix::sys::signal::Signal;

use crate::support::demo::{Demo, tells_its_numbers};

#[test]
fn it_shows_what_visitors_notice_and_leaves_nothing() {
    let demo = Demo::on("local");
    let done = demo.start().wait().ok();
    tells_its_numbers(&done.stderr);
    assert!(done.stderr.contains("v3 was refused before any visitor met it"), "{}", done.stderr);
    demo.left_nothing();
}

#[test]
fn interrupted_anywhere_it_leaves_nothing() {
    for (moment, signal) in [("\"docker_build\"", Signal::SIGINT), ("Watch the public port", Signal::SIGTERM)] {
        let demo = Demo::on("local");
        let mut run = demo.start();
        run.until(moment, |event| event.to_string().contains(moment));
        run.signal(signal);
        run.wait().code(130).says("the demo was cancelled");
        demo.left_nothing();
    }
}
