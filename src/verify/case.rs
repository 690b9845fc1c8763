//! A test case: a script on a host, the faults, and the expected end. Teams keep them next to their scripts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use super::attempt::{Attempt, InjectedFault};
use super::baseline::{Baseline, Serving};
use super::judge::{judge, seconds};
use super::property::{Finding, Property};
use super::simulated_run::{SimulatedRun, simulate};
use super::story::story;
use super::target::VerifyTarget;
use crate::effect::EffectError;
use crate::effect::fault::FaultKind;
use crate::journal::crashing_journal::CrashPoint;
use crate::journal::entry::{Purpose, RunStatus};
use crate::world::sim::{PublicAddress, Scenario};

/// One file of `deployer test`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A file beside this one, or the name of a shipped script.
    pub script: String,
    /// The parameters.
    #[serde(default)]
    pub given: Value,
    /// The simulated host.
    #[serde(default)]
    pub host: Scenario,
    /// What goes wrong, in this order.
    #[serde(default)]
    pub when: Vec<Event>,
    /// The public address; derived from the parameters if left out.
    #[serde(default)]
    pub public: Option<PublicAddress>,
    /// The expected end.
    pub expect: Expected,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The kind of the effect, such as `docker_run`.
    #[serde(default)]
    pub effect: String,
    /// Only effects whose subject contains this.
    #[serde(default)]
    pub subject: String,
    /// Which of them, from 1.
    #[serde(default = "first")]
    pub nth: usize,
    /// What happens to it. Not used with `killed`.
    #[serde(default)]
    pub fault: Option<FaultKind>,
    /// The process is killed just before the effect, or just after it.
    #[serde(default)]
    pub killed: Option<Killed>,
    /// What happens to the killed run. Default: resume.
    #[serde(default)]
    pub then: Option<Purpose>,
}

fn first() -> usize {
    1
}

/// When the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Killed {
    /// Just before the effect.
    Before,
    /// Just after the effect.
    After,
}

/// The expected end. What is left out is not checked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expected {
    /// The status of the run.
    pub status: Option<RunStatus>,
    /// The exit code.
    pub exit_code: Option<u8>,
    /// The image that answers clients at the end; empty for none.
    pub serves: Option<String>,
    /// Names of the containers at the end.
    pub containers: Option<Vec<String>>,
    /// A text that the error contains.
    pub error: Option<String>,
    /// A text that a warning contains.
    pub warns: Option<String>,
    /// The longest time without an answer, in ms.
    pub gap_max_ms: Option<u64>,
    /// Whether every property holds. Default: true.
    pub holds: Option<bool>,
}

/// The result of a case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// What was not as expected.
    pub wrong: Vec<String>,
    /// The timeline of the run, if something was wrong.
    pub story: Vec<String>,
}

impl Case {
    /// Runs the case.
    ///
    /// # Errors
    /// When its host cannot be set up, or the run has no such effect.
    pub fn run(&self, subject: &VerifyTarget, handle: &Handle) -> Result<CaseResult, EffectError> {
        let (run, findings) = play(&self.when, subject, handle)?;
        let mut wrong = self.expect.differs(&run);
        let holds = self.expect.holds.unwrap_or(true);
        match findings.first() {
            Some(found) if holds => {
                wrong.push(format!("violated: {}: {}", found.property.sentence(), found.what));
            }
            None if !holds => wrong.push("every property holds".into()),
            _ => {}
        }
        let finding = findings.into_iter().next().unwrap_or(Finding {
            property: Property::End,
            what: String::new(),
            at_ms: None,
        });
        let story = if wrong.is_empty() { Vec::new() } else { story(&run, &finding) };
        Ok(CaseResult { wrong, story })
    }
}

/// Simulates a run with these faults, in order, and returns it with its violations.
///
/// # Errors
/// When its host cannot be set up, or the run has no such effect.
pub fn play(
    when: &[Event],
    subject: &VerifyTarget,
    handle: &Handle,
) -> Result<(SimulatedRun, Vec<Finding>), EffectError> {
    let nothing = simulate(subject, &Attempt::default(), handle)?;
    let baseline = Baseline::of(&nothing);
    let mut run = nothing;
    for event in when {
        let fault = event.injected_fault(&run)?;
        run = simulate(subject, &run.attempt.and(fault), handle)?;
    }
    let findings = judge(&baseline, subject.gap, &run);
    Ok((run, findings))
}

impl Event {
    fn injected_fault(&self, run: &SimulatedRun) -> Result<InjectedFault, EffectError> {
        let mut found = run
            .trail
            .iter()
            .filter(|reached| reached.position.kind == self.effect && reached.subject.contains(&self.subject));
        let nothing = || {
            let message =
                format!("the script does not request `{}` with `{}` {} times", self.effect, self.subject, self.nth);
            EffectError::new(crate::effect::ErrorKind::Invalid, message)
                .hint("`deployer plan` shows what a script requests")
                .not_applied()
        };
        let reached = found.nth(self.nth.saturating_sub(1)).ok_or_else(nothing)?;
        let Some(killed) = self.killed else {
            let position = reached.position.clone();
            let fault = self.fault.unwrap_or(FaultKind::Refused);
            return Ok(InjectedFault::Fault { position, fault });
        };
        use crate::journal::entry::Entry;
        let entry = |wanted: fn(&Entry) -> Option<&crate::base::seq::Seq>| {
            let found = run.records.iter().find(|record| wanted(&record.entry) == Some(&reached.position.seq));
            found.map(|record| record.n).ok_or_else(nothing)
        };
        let at = match killed {
            Killed::Before => CrashPoint::After(entry(|entry| match entry {
                Entry::Intended { intent } => Some(&intent.seq),
                _ => None,
            })?),
            Killed::After => CrashPoint::Before(entry(|entry| match entry {
                Entry::Completed { seq, .. } | Entry::Failed { seq, .. } => Some(seq),
                _ => None,
            })?),
        };
        Ok(InjectedFault::Crash { at, then: self.then.unwrap_or(Purpose::Resume) })
    }
}

impl Expected {
    fn differs(&self, run: &SimulatedRun) -> Vec<String> {
        let mut wrong = Vec::new();
        match &run.end {
            Ok(end) => {
                if let Some(status) = self.status.filter(|status| *status != end.status) {
                    let error = end.error.as_deref().unwrap_or("no error");
                    wrong.push(format!("it ends `{}` and not `{status}`: {error}", end.status));
                }
                if let Some(code) = self.exit_code.filter(|code| *code != end.exit_code) {
                    wrong.push(format!("it exits with {} and not {code}", end.exit_code));
                }
                let error = end.error.as_deref().unwrap_or_default();
                if let Some(text) = self.error.as_ref().filter(|text| !error.contains(text.as_str())) {
                    wrong.push(format!("its error is `{error}`, without `{text}`"));
                }
            }
            Err(why) => wrong.push(format!("it has no end: {why}")),
        }
        if let Some(image) = &self.serves {
            let serves = Serving::after(run).image.unwrap_or_default();
            if serves != *image {
                wrong.push(format!("`{serves}` answers and not `{image}`"));
            }
        }
        if let Some(names) = &self.containers {
            let found: Vec<&String> = run.after.containers.keys().collect();
            let mut wanted: Vec<&String> = names.iter().collect();
            wanted.sort();
            if found != wanted {
                wrong.push(format!("the containers are {found:?} and not {wanted:?}"));
            }
        }
        if let Some(text) = self.warns.as_ref().filter(|text| !run.warnings().any(|said| said.contains(text.as_str())))
        {
            wrong.push(format!("it warns of nothing with `{text}`"));
        }
        let longest =
            run.spells.iter().skip_while(|spell| !spell.result.is_good()).filter(|spell| !spell.result.is_good());
        let longest = longest.map(crate::world::sim::TrafficInterval::duration_ms).max().unwrap_or(0);
        if self.gap_max_ms.is_some_and(|most| longest > most) {
            wrong.push(format!("no answer for {}", seconds(longest)));
        }
        wrong
    }
}
