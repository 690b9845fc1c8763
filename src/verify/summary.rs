//! The result of a search as text, JSON or JUnit. What was not tried is listed too.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::property::Property;
use super::search::{Found, Phase, SearchLimits};
use super::violation::ReportedViolation;

/// The result of `deployer verify`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The script.
    pub script: String,
    /// The public address; `None` when the script does not name one.
    pub public: Option<String>,
    /// Whether no violation was found.
    pub holds: bool,
    /// The number of runs.
    pub runs: u64,
    /// Effects that reach the world in a run without a fault.
    pub effects: usize,
    /// How long the search took.
    pub elapsed_ms: u64,
    /// The number of threads.
    pub threads: usize,
    /// The number of runs with a violation.
    pub bad_runs: u64,
    /// The phases of the search.
    pub phases: Vec<Phase>,
    /// What the time budget, or Ctrl-C, left out.
    pub not_tried: Vec<String>,
    /// How often each fault was tried at each kind of effect.
    pub tried: BTreeMap<String, BTreeMap<String, u64>>,
    /// The digest of all runs together.
    pub digest: String,
    /// The violations.
    pub violations: Vec<ReportedViolation>,
}

impl Summary {
    /// Creates the summary of a search, without its violations.
    pub fn new(script: &str, public: Option<String>, limits: &SearchLimits, found: Found, elapsed_ms: u64) -> Self {
        let left = |phase: &&Phase| phase.done < phase.planned;
        let say =
            |phase: &Phase| format!("{}: {} of {} attempts", phase.name, phase.planned - phase.done, phase.planned);
        Self {
            script: script.into(),
            public,
            holds: found.violations.is_empty(),
            runs: found.runs(),
            effects: found.effects,
            elapsed_ms,
            threads: limits.threads,
            bad_runs: found.bad_runs,
            not_tried: found.phases.iter().filter(left).map(say).collect(),
            phases: found.phases,
            tried: found.tried,
            digest: found.digest,
            violations: Vec::new(),
        }
    }

    /// Returns the text: violations with their timelines, then figures, then what was not tried.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for violation in &self.violations {
            let _ = writeln!(text, "violated: {}", violation.finding.property.sentence());
            let _ = writeln!(text, "  {}", violation.finding.what);
            let _ = writeln!(text, "  when {}{}", violation.attempt, more(violation.attempts));
            for line in &violation.story {
                let _ = writeln!(text, "  {line}");
            }
            if let Some(file) = &violation.file {
                let _ = writeln!(text, "  again: deployer verify --replay {file}");
            }
            text.push('\n');
        }
        let result = match self.violations.len() {
            0 => "no violations".to_owned(),
            1 => "1 violation".to_owned(),
            count => format!("{count} violations"),
        };
        let tenths = self.elapsed_ms / 100;
        let _ = writeln!(text, "{}: {result} in {} runs, {}.{} s", self.script, self.runs, tenths / 10, tenths % 10);
        for phase in &self.phases {
            let _ = writeln!(text, "  {:<24} {:>7} runs", phase.name, phase.done);
        }
        let faults: u64 = self.tried.values().flat_map(BTreeMap::values).sum();
        let kinds = self.tried.keys().filter(|kind| *kind != "killed").count();
        let _ = writeln!(
            text,
            "  {faults} faults at {kinds} kinds of effects; {} effects in a run without faults",
            self.effects
        );
        match &self.public {
            Some(public) => {
                let _ = writeln!(text, "  public address: {public}");
            }
            None => text.push_str("  public address: unknown, so downtime is not checked; name it with `--port`\n"),
        }
        for left in &self.not_tried {
            let _ = writeln!(text, "  not tried: {left}");
        }
        text
    }

    /// Returns JUnit XML, with one test case for each property.
    pub fn junit(&self) -> String {
        let failures: Vec<&ReportedViolation> = self.violations.iter().collect();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let broken = |property| failures.iter().filter(move |violation| violation.finding.property == property);
        let failed = Property::ALL.iter().filter(|property| broken(**property).next().is_some()).count();
        let _ = writeln!(
            text,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" time=\"{}.{:03}\">",
            xml(&self.script),
            Property::ALL.len(),
            self.elapsed_ms / 1_000,
            self.elapsed_ms % 1_000
        );
        for property in Property::ALL {
            let _ = write!(text, "  <testcase classname=\"verify\" name=\"{}\"", xml(property.sentence()));
            if broken(property).next().is_none() {
                text.push_str("/>\n");
                continue;
            }
            text.push_str(">\n");
            for violation in broken(property) {
                let story = format!("when {}\n{}", violation.attempt, violation.story.join("\n"));
                let _ = writeln!(
                    text,
                    "    <failure message=\"{}\">{}</failure>",
                    xml(&violation.finding.what),
                    xml(&story)
                );
            }
            text.push_str("  </testcase>\n");
        }
        text.push_str("</testsuite>\n");
        text
    }
}

fn more(attempts: u64) -> String {
    if attempts > 1 { format!(" (and {} more)", attempts - 1) } else { String::new() }
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
