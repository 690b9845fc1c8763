//! Plans, and what the run after them asked for, in a form in which they can be compared.

use serde_json::Value;

use super::deployer::Deployer;

/// The plan of a script as JSON; `code` is what it exits with.
#[track_caller]
pub fn planned(deployer: &Deployer, script: &str, rest: &[&str], code: i32) -> Value {
    let mut args = vec!["plan", script, "--engine", deployer.engine(), "--format", "json"];
    args.extend(rest);
    let finished = deployer.call(&args).code(code);
    serde_json::from_str(finished.stdout.trim()).unwrap()
}

/// Kind and subject of every change that the plan names.
pub fn steps(plan: &Value) -> Vec<String> {
    plan["steps"].as_array().unwrap().iter().map(line).collect()
}

/// The same of the latest run, as its journal has it.
pub fn asked_for(deployer: &Deployer) -> Vec<String> {
    let records = deployer.latest_run();
    let intents = records.iter().filter(|record| record["entry"] == "intended").map(|record| &record["intent"]);
    intents.filter(|intent| intent["access"] == "write").map(line).collect()
}

fn line(of: &Value) -> String {
    // What was made anew has another id each time.
    let subject = of["subject"].as_str().unwrap();
    let words = subject.split(' ').map(|word| if word.starts_with("sha256:") { "IMAGE" } else { word });
    format!("{} {}", of["kind"].as_str().unwrap(), words.collect::<Vec<_>>().join(" "))
}
