//! The shipped scripts hold, whatever goes wrong; and the same search gives the same runs. With every pair of mishaps, in
//! about half an hour: `DEPLOYER_SWEEP=pairs cargo test --release --test verify hold -- --test-threads 1`.

use crate::rig::{depth, handle, is_whole, reach, searched, stories};
use crate::scenes::{bluegreen, scenes, with_blue};
use deployer::verify::case::play;
use deployer::verify::search::Reach;
use serde_json::json;

/// Every fault at every effect and every crash, of one scene.
#[track_caller]
fn holds(name: &str) {
    let found = scenes().into_iter().find(|scene| scene.name == name);
    let subject = found.unwrap_or_else(|| panic!("there is no scene `{name}`")).subject();
    let found = searched(&subject, &reach(depth())).unwrap_or_else(|why| panic!("{name}: {why:?}"));
    println!("{name}: {} runs", found.runs());
    assert!(found.runs() > 100, "{name}: only {} runs", found.runs());
    assert!(found.violations.is_empty(), "{name} ({} runs)\n{}", found.runs(), stories(&subject, &found));
}

#[test]
fn blue_green_holds() {
    holds("blue-green");
}

#[test]
fn the_first_blue_green_holds() {
    holds("first");
}

#[test]
fn blue_green_with_a_build_and_a_database_holds() {
    holds("with a build and a database");
}

#[test]
fn blue_green_by_compose_holds() {
    holds("compose takes over");
}

#[test]
fn blue_green_behind_a_route_holds() {
    holds("routed");
}

/// One model stands for all drivers, and "routed" is tried above; what tells these from it is what they refuse. So they
/// are tried by hand: `DEPLOYER_SWEEP=all cargo test --test verify drivers`; in the suite, their plain runs.
#[test]
fn blue_green_behind_other_drivers_holds() {
    for name in ["by nginx", "by haproxy", "by caddy"] {
        if is_whole() {
            holds(name);
        } else {
            let subject = scenes().into_iter().find(|scene| scene.name == name).unwrap().subject();
            let (run, findings) = play(&[], &subject, &handle()).unwrap();
            assert!(findings.is_empty(), "{name}: {findings:?}");
            assert_eq!(run.end.map(|end| end.exit_code), Ok(0), "{name}");
        }
    }
}

#[test]
fn a_canary_holds() {
    holds("canary");
}

#[test]
fn safe_deploy_holds() {
    holds("safe: rebuild");
    holds("safe: restart");
}

#[test]
fn safe_deploy_behind_a_route_holds() {
    holds("safe: routed");
}

#[test]
fn rollback_holds() {
    holds("rollback");
}

#[test]
fn a_port_that_is_taken_over_holds() {
    holds("take port");
}

#[test]
fn the_same_seed_gives_the_same_runs() {
    let subject = bluegreen("blue-green", with_blue("web:v1"), json!({})).subject();
    let by_seed = |seed| {
        let reach = Reach { seeds: 20, first_seed: seed, ..reach(1) };
        searched(&subject, &reach).unwrap()
    };
    let (first, again, other) = (by_seed(1), by_seed(1), by_seed(1_000));
    assert_eq!(first.digest, again.digest);
    assert_ne!(first.digest, other.digest);
    assert_eq!(first.runs(), again.runs());
}

#[test]
fn what_the_time_did_not_allow_is_said() {
    let subject = bluegreen("blue-green", with_blue("web:v1"), json!({})).subject();
    let found = searched(&subject, &Reach { seconds: Some(0), ..reach(2) }).unwrap();
    assert!(found.phases.iter().any(|phase| phase.done < phase.planned), "{:?}", found.phases);
}
