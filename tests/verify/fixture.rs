//! The fixture of these tests: targets, limits and searches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use deployer::effect::EffectError;
use deployer::script::program::Program;
use deployer::script::source::{SHIPPED, Source, SourceLoader};
use deployer::verify::search::{Found, Progress, SearchError, SearchLimits, search};
use deployer::verify::target::{Scenario, VerifyTarget};
use deployer::verify::violation::{ReportedViolation, tell};
use deployer::world::clock::{Clock, SystemClock};
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub fn handle() -> Handle {
    RUNTIME.handle().clone()
}

/// Modules that replace the included ones.
#[derive(Clone, Debug, Default)]
pub struct ModuleOverrides(pub BTreeMap<String, String>);

impl SourceLoader for ModuleOverrides {
    fn module(&self, name: &str) -> Result<String, String> {
        Err(format!("no file `{name}.rhai`"))
    }

    fn pinned(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn known_modules(&self) -> Vec<String> {
        Vec::new()
    }
}

pub fn shipped(name: &str) -> &'static str {
    SHIPPED.iter().find(|(known, _)| *known == name).unwrap().1
}

pub fn target(name: &str, text: &str, modules: ModuleOverrides, given: Value, scenario: Scenario) -> VerifyTarget {
    let source = Source::new(name, text);
    let loader: Arc<dyn SourceLoader> = Arc::new(modules);
    let declaration = Program::declaration(source.clone(), &loader).unwrap();
    VerifyTarget::new(source, loader, &declaration, given, scenario)
}

/// Depth of the search: 1, or 2 (all pairs of faults) with `DEPLOYER_SWEEP=pairs`.
pub fn depth() -> u8 {
    if std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "pairs") { 2 } else { 1 }
}

/// Whether to run everything, not a sample.
pub fn is_full_sweep() -> bool {
    depth() == 2 || std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all")
}

pub fn limits(depth: u8) -> SearchLimits {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    SearchLimits { depth, seeds: 0, first_seed: 1, seconds: None, threads }
}

pub fn run_search(target: &VerifyTarget, limits: &SearchLimits) -> Result<Found, SearchError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    search(target, limits, &handle(), &clock, &AtomicBool::new(false), &|_| {})
}

/// Searches until the first violation.
pub fn search_for_first(target: &VerifyTarget, limits: &SearchLimits) -> Result<Found, SearchError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let stop = AtomicBool::new(false);
    let stop_at_first = |progress: Progress| stop.store(progress.violations > 0, Ordering::Release);
    search(target, limits, &handle(), &clock, &stop, &stop_at_first)
}

/// Renders the violations with their timelines as text.
pub fn render_violations(target: &VerifyTarget, found: &Found) -> String {
    let reported: Result<Vec<ReportedViolation>, EffectError> =
        found.violations.iter().map(|violation| tell(target, violation, &handle())).collect();
    let text = |violation: &ReportedViolation| {
        let timeline = violation.story.join("\n    ");
        format!(
            "{}: {} ({} runs)\n  when {}\n    {timeline}\n",
            violation.finding.property, violation.finding.what, violation.attempts, violation.attempt
        )
    };
    reported.unwrap().iter().map(text).collect()
}
