//! Plans and runs, in a form in which they can be compared.

use serde_json::Value;

use super::deployer::Deployer;

/// Runs `deployer plan`, asserts its exit code, and returns the plan as JSON.
#[track_caller]
pub fn plan_json(deployer: &Deployer, script: &str, rest: &[&str], code: i32) -> Value {
    let mut args = vec!["plan", script, "--engine", deployer.engine(), "--format", "json"];
    args.extend(rest);
    let finished = deployer.call(&args).code(code);
    serde_json::from_str(finished.stdout.trim()).unwrap()
}

/// Returns the kind and subject of every change in a plan.
pub fn planned_changes(plan: &Value) -> Vec<String> {
    plan["steps"].as_array().unwrap().iter().map(describe).collect()
}

/// Returns the kind and subject of every change that the latest run intended, from its journal.
pub fn intended_changes(deployer: &Deployer) -> Vec<String> {
    let records = deployer.latest_run();
    let intents = records.iter().filter(|record| record["entry"] == "intended").map(|record| &record["intent"]);
    intents.filter(|intent| intent["access"] == "write").map(describe).collect()
}

fn describe(change: &Value) -> String {
    // A new image has a different id each time.
    let subject = change["subject"].as_str().unwrap();
    let words = subject.split(' ').map(|word| if word.starts_with("sha256:") { "IMAGE" } else { word });
    format!("{} {}", change["kind"].as_str().unwrap(), words.collect::<Vec<_>>().join(" "))
}
