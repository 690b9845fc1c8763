//! The shipped scripts have no violations under any fault, and the same search gives the same runs. To try every pair
//! of faults, in about half an hour:
//! `DEPLOYER_SWEEP=pairs cargo test --release --test verify no_violations -- --test-threads 1`.

use crate::deploy_cases::{bluegreen, deploy_cases, with_blue};
use crate::fixture::{depth, handle, is_full_sweep, limits, render_violations, run_search};
use deployer::verify::case::play;
use deployer::verify::search::SearchLimits;
use serde_json::json;

/// Tries every fault at every effect, and every crash, of one deploy case.
#[track_caller]
fn assert_no_violations(name: &str) {
    let found = deploy_cases().into_iter().find(|case| case.name == name);
    let target = found.unwrap_or_else(|| panic!("there is no case `{name}`")).target();
    let found = run_search(&target, &limits(depth())).unwrap_or_else(|why| panic!("{name}: {why:?}"));
    println!("{name}: {} runs", found.runs());
    assert!(found.runs() > 100, "{name}: only {} runs", found.runs());
    assert!(found.violations.is_empty(), "{name} ({} runs)\n{}", found.runs(), render_violations(&target, &found));
}

#[test]
fn blue_green_has_no_violations() {
    assert_no_violations("blue-green");
}

#[test]
fn the_first_blue_green_has_no_violations() {
    assert_no_violations("first");
}

#[test]
fn blue_green_with_a_build_and_a_database_has_no_violations() {
    assert_no_violations("with a build and a database");
}

#[test]
fn blue_green_by_compose_has_no_violations() {
    assert_no_violations("compose takes over");
}

#[test]
fn blue_green_of_a_compose_service_has_no_violations() {
    assert_no_violations("compose took over");
}

#[test]
fn blue_green_with_a_copied_database_has_no_violations() {
    for name in ["on a clone", "on hold"] {
        assert_no_violations(name);
    }
}

#[test]
fn blue_green_with_a_copied_database_behind_a_route_has_no_violations() {
    for name in ["routed: on a clone", "routed: on hold"] {
        assert_no_violations(name);
    }
}

#[test]
fn blue_green_behind_a_route_has_no_violations() {
    assert_no_violations("routed");
}

/// The simulation has one model for all drivers, and `routed` above covers it; these drivers differ only in what they
/// refuse. The suite runs them once without faults. To search them:
/// `DEPLOYER_SWEEP=all cargo test --test verify drivers`.
#[test]
fn blue_green_behind_other_drivers_has_no_violations() {
    for name in ["by nginx", "by haproxy", "by caddy"] {
        if is_full_sweep() {
            assert_no_violations(name);
        } else {
            let target = deploy_cases().into_iter().find(|case| case.name == name).unwrap().target();
            let (run, findings) = play(&[], &target, &handle()).unwrap();
            assert!(findings.is_empty(), "{name}: {findings:?}");
            assert_eq!(run.end.map(|end| end.exit_code), Ok(0), "{name}");
        }
    }
}

#[test]
fn a_canary_has_no_violations() {
    assert_no_violations("canary");
}

#[test]
fn safe_deploy_has_no_violations() {
    assert_no_violations("safe: rebuild");
    assert_no_violations("safe: restart");
}

#[test]
fn safe_deploy_behind_a_route_has_no_violations() {
    assert_no_violations("safe: routed");
}

#[test]
fn rollback_has_no_violations() {
    assert_no_violations("rollback");
}

#[test]
fn a_port_that_is_taken_over_has_no_violations() {
    assert_no_violations("take port");
}

#[test]
fn the_same_seed_gives_the_same_runs() {
    let target = bluegreen("blue-green", with_blue("web:v1"), json!({})).target();
    let by_seed = |seed| {
        let limits = SearchLimits { seeds: 20, first_seed: seed, ..limits(1) };
        run_search(&target, &limits).unwrap()
    };
    let (first, again, other) = (by_seed(1), by_seed(1), by_seed(1_000));
    assert_eq!(first.digest, again.digest);
    assert_ne!(first.digest, other.digest);
    assert_eq!(first.runs(), again.runs());
}

#[test]
fn a_search_that_runs_out_of_time_reports_unfinished_phases() {
    let target = bluegreen("blue-green", with_blue("web:v1"), json!({})).target();
    let found = run_search(&target, &SearchLimits { seconds: Some(0), ..limits(2) }).unwrap();
    assert!(found.phases.iter().any(|phase| phase.done < phase.planned), "{:?}", found.phases);
}
