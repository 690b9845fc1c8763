//! The conformance suite: what every world must do the same way, written once. Each world has one file in
//! `conformance/hosts/` with what differs. Compares outcomes and kinds of errors, never texts.

mod context;
mod host;
mod hosts;
mod scenarios;
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
