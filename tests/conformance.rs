//! The conformance suite: what every world must do alike, written once. A world joins with one file in
//! `conformance/hosts/` that says what differs. Compares outcomes and kinds of errors, never texts.

#[path = "conformance/host.rs"]
mod host;
#[path = "conformance/hosts/mod.rs"]
mod hosts;
#[path = "support/own_errors.rs"]
mod own_errors;
#[path = "conformance/scenarios/mod.rs"]
mod scenarios;
#[path = "conformance/stage.rs"]
mod stage;
#[path = "conformance/suite.rs"]
mod suite;

#[test]
fn sim() {
    suite::run(hosts::sim::open);
}

#[test]
fn docker() {
    suite::run(hosts::docker::open);
}

#[test]
fn local() {
    suite::run(hosts::local::open);
}
