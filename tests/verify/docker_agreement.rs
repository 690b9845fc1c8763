//! Compares `verify` with reality: when `verify` reports a violation under a fault, Docker must show the same when the
//! same script meets the same fault there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use deployer::gateway::fault::FaultRule;
use deployer::verify::case::{Event, play};
use deployer::verify::property::Property;
use deployer::verify::target::VerifyTarget;
use serde_json::{Value, json};

use crate::docker_host::{DockerHost, remove_shared_images};
use crate::end_state::{EndState, longest_outage};
use crate::fixture::handle;
use crate::guide_scripts;
use crate::mistakes::mistakes;

/// A mistake or a guide, and the faults, in the format of a scenario file.
struct Trial {
    mistake: &'static str,
    faults: Vec<Value>,
}

fn trial(mistake: &'static str, faults: Value) -> Trial {
    let Value::Array(faults) = faults else { panic!("a list") };
    Trial { mistake, faults }
}

fn trials() -> Vec<Trial> {
    let next = |fault: &str| json!([{"effect": "docker_start", "subject": "-next", "fault": fault}]);
    vec![
        trial("the logo guide", json!([])),
        trial(
            "the manual guide",
            json!([
                {"effect": "compose_up", "fault": "refused"},
                {"effect": "docker_run", "nth": 2, "fault": "refused"}
            ]),
        ),
        trial("sleep after the stop", json!([])),
        trial("no bake", next("dies")),
        trial("no bake", next("becomes_unhealthy")),
        trial("no bake: rollback", next("dies")),
        trial("no bake: rollback", next("becomes_unhealthy")),
        trial("bake without a health check", next("becomes_unhealthy")),
        trial("bake ignores failures", next("dies")),
        trial("bake ignores failures", next("becomes_unhealthy")),
        trial("commit before the bake", next("dies")),
        trial("commit before the bake", next("becomes_unhealthy")),
        trial("commit before the bake", json!([{"effect": "health_wait", "subject": "-next", "fault": "refused"}])),
        trial("commit before the bake: rollback", next("dies")),
        trial("commit before the bake: rollback", next("becomes_unhealthy")),
        trial(
            "commit before the bake: rollback",
            json!([{"effect": "health_wait", "subject": "-next", "fault": "refused"}]),
        ),
        trial("commit before the cutover", json!([{"effect": "docker_create", "fault": "refused"}])),
        trial("commit at the start", json!([{"effect": "lock", "fault": "refused"}])),
        trial("remove before commit", json!([{"effect": "docker_remove", "fault": "timeout_applied"}])),
        trial("remove before commit", json!([{"effect": "docker_remove", "fault": "timeout_not_applied"}])),
        trial("remove before commit", next("becomes_unhealthy")),
        trial("remove instead of stop", json!([])),
        trial("remove instead of stop", json!([{"effect": "docker_remove", "fault": "timeout_applied"}])),
        trial("remove instead of stop", json!([{"effect": "docker_remove", "fault": "partial"}])),
        trial("kill instead of stop", json!([])),
        trial("no grace period", json!([])),
        trial("stop before green is healthy", json!([{"effect": "docker_stop", "fault": "timeout_applied"}])),
    ]
}

impl Trial {
    fn name(&self) -> String {
        let faults: Vec<String> =
            self.faults.iter().map(|event| format!("{} {}", event["effect"], event["fault"])).collect();
        format!("{} [{}]", self.mistake, faults.join(", "))
    }

    /// The target, with the ports and names of a host.
    fn target(&self, host: &DockerHost) -> VerifyTarget {
        let mut target = match self.mistake {
            "the logo guide" => guide_scripts::logo(),
            "the manual guide" => guide_scripts::manual(0),
            name => {
                let found = mistakes().into_iter().find(|mistake| mistake.name == name);
                let mistake = found.unwrap_or_else(|| panic!("there is no mistake `{name}`"));
                mistake.apply_to(&mistake.case())
            }
        };
        host.rename(&mut target);
        target
    }

    /// Compares the end states of both worlds; returns what differs.
    fn compare(&self) -> Result<(), String> {
        let host = DockerHost::new();
        let target = self.target(&host);
        let events: Vec<Event> =
            self.faults.iter().map(|event| serde_json::from_value(event.clone()).unwrap()).collect();
        let (run, findings) = play(&events, &target, &handle()).map_err(|error| error.to_string())?;
        if findings.is_empty() {
            return Err("nothing is found by `verify`".into());
        }
        let fault_rule = |event: &Event| FaultRule {
            kind: event.effect.clone(),
            subject: event.subject.clone(),
            nth: u32::try_from(event.nth).unwrap(),
            fault: event.fault.unwrap(),
        };
        let real = host.run(&target, events.iter().map(fault_rule).collect());
        let simulated = EndState::simulated(&run);
        if simulated != real.end_state {
            return Err(format!("simulated: {simulated:?}\nreal: {:?} {:?}", real.end_state, real.messages));
        }
        let similar = match (longest_outage(&run), real.outage) {
            (Some(simulated), Some(real)) => (simulated / 2..=simulated + TOLERANCE_MS).contains(&real),
            (simulated, real) => simulated == real,
        };
        if !similar {
            return Err(format!(
                "without an answer: simulated {:?} ms, real {:?} ms",
                longest_outage(&run),
                real.outage
            ));
        }
        let cut_off = findings.iter().any(|finding| finding.property == Property::CutOff);
        if cut_off && real.blue_exit_code != Some(KILLED) {
            return Err(format!("the old container was not killed, but ended with {:?}", real.blue_exit_code));
        }
        println!("{}: {}; without an answer: {:?} ms", self.name(), findings[0].what, real.outage);
        Ok(())
    }
}

/// Starting a container takes 300 ms in the simulated world, and up to some seconds on a busy machine.
const TOLERANCE_MS: u64 = 8_000;
/// The exit code of a program that SIGKILL ended.
const KILLED: i64 = 137;
/// Trials that run at the same time; most of a trial is waiting.
const CONCURRENCY: usize = 6;

#[test]
fn docker_shows_the_same_violations() {
    let trials = trials();
    assert!(trials.len() >= 20);
    let next = AtomicUsize::new(0);
    let differences: Mutex<Vec<String>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..CONCURRENCY {
            scope.spawn(|| {
                while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = trial.compare() {
                        differences.lock().unwrap().push(format!("{}: {why}", trial.name()));
                    }
                }
            });
        }
    });
    remove_shared_images();
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), trials.len(), differences.join("\n"));
}
