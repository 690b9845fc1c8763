//! Closures of `on_rollback` in branches: `verify` crashes each branch while another one is behind it.

use deployer::verify::attempt::{Attempt, InjectedFault};
use deployer::verify::simulated_run::simulate;
use deployer::verify::target::{Scenario, VerifyTarget};
use serde_json::json;

use crate::fixture::{ModuleOverrides, handle, limits, render_violations, run_search, target};

const SCRIPT: &str = r#"
    fn change(name) {
        volume_create(name);
        on_rollback(|| { volume_create(`undone-${name}`); volume_remove(`undone-${name}`); });
    }
    parallel([
        || { change("aa"); change("ab"); },
        || parallel([|| change("ba"), || step "inner" { change("bb"); }]),
        || change("ca"),
    ]);
    on_rollback(|| parallel([|| log("left"), || log("right")]));
    sleep("1s");
"#;

fn subject() -> VerifyTarget {
    target("branches.rhai", SCRIPT, ModuleOverrides::default(), json!({}), Scenario::default())
}

#[test]
fn closures_in_branches_are_called_whichever_branch_is_ahead() {
    let subject = subject();
    let found = run_search(&subject, &limits(1)).unwrap();
    let phase = found.phases.iter().find(|phase| phase.name == "last branch first").expect("the other branch order");
    assert!(phase.done > 50 && phase.done == phase.planned, "{phase:?}");
    assert!(found.violations.is_empty(), "{}", render_violations(&subject, &found));
}

#[test]
fn the_last_branch_can_be_ahead_of_the_others() {
    let reversed = Attempt::one(InjectedFault::LastBranchFirst);
    let run = simulate(&subject(), &reversed, &handle()).unwrap();
    let first = run.trail.iter().find(|reached| reached.position.kind == "volume_create").unwrap();
    assert!(first.subject.starts_with("ca"), "{}", first.subject);
    let text = serde_json::to_string(&reversed).unwrap();
    assert_eq!(serde_json::from_str::<Attempt>(&text).unwrap(), reversed);
}
