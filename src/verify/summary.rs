//! What a search tells when it is over: as text, as JSON, as JUnit. What was not tried is said as plainly as what was.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::property::Property;
use super::search::{Found, Phase, Reach};
use super::violation::Told;

/// The result of `deployer verify`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub script: String,
    /// Where visitors went; none when the script does not tell.
    pub public: Option<String>,
    pub holds: bool,
    pub runs: u64,
    /// Effects that reach the world when nothing goes wrong.
    pub effects: usize,
    pub elapsed_ms: u64,
    pub threads: usize,
    pub bad_runs: u64,
    pub phases: Vec<Phase>,
    /// What the time budget, or Ctrl-C, left out.
    pub not_tried: Vec<String>,
    /// How often each fault was tried at each kind of effect.
    pub tried: BTreeMap<String, BTreeMap<String, u64>>,
    pub digest: String,
    pub violations: Vec<Told>,
}

impl Summary {
    pub fn new(script: &str, public: Option<String>, reach: &Reach, found: Found, elapsed_ms: u64) -> Self {
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
            threads: reach.threads,
            bad_runs: found.bad_runs,
            not_tried: found.phases.iter().filter(left).map(say).collect(),
            phases: found.phases,
            tried: found.tried,
            digest: found.digest,
            violations: Vec::new(),
        }
    }

    /// For people: violations with their stories, then figures, then what was left out.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for told in &self.violations {
            let _ = writeln!(text, "violated: {}", told.finding.property.sentence());
            let _ = writeln!(text, "  {}", told.finding.what);
            let _ = writeln!(text, "  when {}{}", told.attempt, more(told.attempts));
            for line in &told.story {
                let _ = writeln!(text, "  {line}");
            }
            if let Some(file) = &told.file {
                let _ = writeln!(text, "  again: deployer verify --replay {file}");
            }
            text.push('\n');
        }
        let verdict = match self.violations.len() {
            0 => "holds".to_owned(),
            1 => "1 violation".to_owned(),
            count => format!("{count} violations"),
        };
        let tenths = self.elapsed_ms / 100;
        let _ = writeln!(text, "{}: {verdict} in {} runs, {}.{} s", self.script, self.runs, tenths / 10, tenths % 10);
        for phase in &self.phases {
            let _ = writeln!(text, "  {:<24} {:>7} runs", phase.name, phase.done);
        }
        let faults: u64 = self.tried.values().flat_map(BTreeMap::values).sum();
        let kinds = self.tried.keys().filter(|kind| *kind != "killed").count();
        let _ =
            writeln!(text, "  {faults} mishaps at {kinds} kinds of effects; {} effects in a good run", self.effects);
        match &self.public {
            Some(public) => {
                let _ = writeln!(text, "  visitors: {public}");
            }
            None => text.push_str("  visitors: none, for no public port is known; name it with --port\n"),
        }
        for left in &self.not_tried {
            let _ = writeln!(text, "  not tried: {left}");
        }
        text
    }

    /// One test case for each property.
    pub fn junit(&self) -> String {
        let failures: Vec<&Told> = self.violations.iter().collect();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let broken = |property| failures.iter().filter(move |told| told.finding.property == property);
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
            for told in broken(property) {
                let story = format!("when {}\n{}", told.attempt, told.story.join("\n"));
                let _ =
                    writeln!(text, "    <failure message=\"{}\">{}</failure>", xml(&told.finding.what), xml(&story));
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
