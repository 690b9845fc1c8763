//! Verdicts against reality: what `verify` says of a mistake when something goes wrong, Docker shows as well when the
//! same script meets the same there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use deployer::gateway::fault::FaultRule;
use deployer::verify::case::{Event, play};
use deployer::verify::property::Property;
use deployer::verify::subject::Subject;
use serde_json::{Value, json};

use crate::docker_stage::{DockerStage, clear};
use crate::ending::{Ending, longest_outage};
use crate::guides;
use crate::mistakes::mistakes;
use crate::rig::handle;

/// A mistake or a guide, and what goes wrong, in the words of a scenario file.
struct Trial {
    mistake: &'static str,
    when: Vec<Value>,
}

fn trial(mistake: &'static str, when: Value) -> Trial {
    let Value::Array(when) = when else { panic!("a list") };
    Trial { mistake, when }
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
        trial("stop, then a rest", json!([])),
        trial("no bake", next("dies")),
        trial("no bake", next("falls_ill")),
        trial("no bake: rollback", next("dies")),
        trial("no bake: rollback", next("falls_ill")),
        trial("bake without a look", next("falls_ill")),
        trial("bake swallows what it sees", next("dies")),
        trial("bake swallows what it sees", next("falls_ill")),
        trial("commit before the bake", next("dies")),
        trial("commit before the bake", next("falls_ill")),
        trial("commit before the bake", json!([{"effect": "health_wait", "subject": "-next", "fault": "refused"}])),
        trial("commit before the bake: rollback", next("dies")),
        trial("commit before the bake: rollback", next("falls_ill")),
        trial(
            "commit before the bake: rollback",
            json!([{"effect": "health_wait", "subject": "-next", "fault": "refused"}]),
        ),
        trial("commit before the cutover", json!([{"effect": "docker_create", "fault": "refused"}])),
        trial("commit first of all", json!([{"effect": "lock", "fault": "refused"}])),
        trial("remove before commit", json!([{"effect": "docker_remove", "fault": "timeout_applied"}])),
        trial("remove before commit", json!([{"effect": "docker_remove", "fault": "timeout_not_applied"}])),
        trial("remove before commit", next("falls_ill")),
        trial("remove in place of stop", json!([])),
        trial("remove in place of stop", json!([{"effect": "docker_remove", "fault": "timeout_applied"}])),
        trial("remove in place of stop", json!([{"effect": "docker_remove", "fault": "partial"}])),
        trial("kill in place of stop", json!([])),
        trial("no grace", json!([])),
        trial("stop before green is proved", json!([{"effect": "docker_stop", "fault": "timeout_applied"}])),
    ]
}

impl Trial {
    fn name(&self) -> String {
        let faults: Vec<String> =
            self.when.iter().map(|event| format!("{} {}", event["effect"], event["fault"])).collect();
        format!("{} [{}]", self.mistake, faults.join(", "))
    }

    /// The subject, on the ports and under the names of a stage.
    fn subject(&self, stage: &DockerStage) -> Subject {
        let mut subject = match self.mistake {
            "the logo guide" => guides::logo(),
            "the manual guide" => guides::manual(0),
            name => {
                let found = mistakes().into_iter().find(|mistake| mistake.name == name);
                let mistake = found.unwrap_or_else(|| panic!("there is no mistake `{name}`"));
                mistake.within(&mistake.scene())
            }
        };
        stage.rename(&mut subject);
        subject
    }

    /// Asserts that both worlds show the same.
    fn hold(&self) -> Result<(), String> {
        let stage = DockerStage::new();
        let subject = self.subject(&stage);
        let events: Vec<Event> = self.when.iter().map(|event| serde_json::from_value(event.clone()).unwrap()).collect();
        let (run, findings) = play(&events, &subject, &handle()).map_err(|error| error.to_string())?;
        if findings.is_empty() {
            return Err("nothing is found by `verify`".into());
        }
        let rule = |event: &Event| FaultRule {
            kind: event.effect.clone(),
            subject: event.subject.clone(),
            nth: u32::try_from(event.nth).unwrap(),
            fault: event.fault.unwrap(),
        };
        let lived = stage.live(&subject, events.iter().map(rule).collect());
        let simulated = Ending::simulated(&run);
        if simulated != lived.ending {
            return Err(format!("simulated: {simulated:?}\nreal: {:?} {:?}", lived.ending, lived.said));
        }
        let like = match (longest_outage(&run), lived.outage) {
            (Some(simulated), Some(real)) => (simulated / 2..=simulated + TOLERANCE_MS).contains(&real),
            (simulated, real) => simulated == real,
        };
        if !like {
            return Err(format!(
                "without an answer: simulated {:?} ms, real {:?} ms",
                longest_outage(&run),
                lived.outage
            ));
        }
        let cut_off = findings.iter().any(|finding| finding.property == Property::CutOff);
        if cut_off && lived.blue_exit_code != Some(KILLED) {
            return Err(format!("the old container was not killed, but ended with {:?}", lived.blue_exit_code));
        }
        println!("{}: {}; without an answer: {:?} ms", self.name(), findings[0].what, lived.outage);
        Ok(())
    }
}

/// To start a container takes 300 ms in the simulated world, and up to some seconds on a busy machine.
const TOLERANCE_MS: u64 = 8_000;
/// The exit code of a program that SIGKILL ended.
const KILLED: i64 = 137;
/// Most of a trial is waiting.
const AT_ONCE: usize = 6;

#[test]
fn what_is_found_comes_about_on_docker() {
    let trials = trials();
    assert!(trials.len() >= 20);
    let next = AtomicUsize::new(0);
    let differ: Mutex<Vec<String>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = trial.hold() {
                        differ.lock().unwrap().push(format!("{}: {why}", trial.name()));
                    }
                }
            });
        }
    });
    clear();
    let differ = differ.into_inner().unwrap();
    assert!(differ.is_empty(), "{} of {}:\n{}", differ.len(), trials.len(), differ.join("\n"));
}
