//! One search, as the tests ask for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use deployer::effect::EffectError;
use deployer::script::program::Program;
use deployer::script::source::{SHIPPED, Source, SourceLoader};
use deployer::verify::search::{Found, NoSearch, Progress, Reach, search};
use deployer::verify::subject::{Scenario, Subject};
use deployer::verify::violation::{Told, tell};
use deployer::world::clock::{Clock, SystemClock};
use serde_json::Value;
use tokio::runtime::{Handle, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub fn handle() -> Handle {
    RUNTIME.handle().clone()
}

/// Modules in place of those that come along.
#[derive(Clone, Debug, Default)]
pub struct Replaced(pub BTreeMap<String, String>);

impl SourceLoader for Replaced {
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

pub fn subject(name: &str, text: &str, modules: Replaced, given: Value, scenario: Scenario) -> Subject {
    let source = Source::new(name, text);
    let loader: Arc<dyn SourceLoader> = Arc::new(modules);
    let declaration = Program::declaration(source.clone(), &loader).unwrap();
    Subject::new(source, loader, &declaration, given, scenario)
}

/// How far a search that was asked for by hand goes: all pairs too with `DEPLOYER_SWEEP=pairs`.
pub fn depth() -> u8 {
    if std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "pairs") { 2 } else { 1 }
}

/// Whether everything is wanted, and not a sample.
pub fn is_whole() -> bool {
    depth() == 2 || std::env::var_os("DEPLOYER_SWEEP").is_some_and(|how| how == "all")
}

pub fn reach(depth: u8) -> Reach {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Reach { depth, seeds: 0, first_seed: 1, seconds: None, threads }
}

pub fn searched(subject: &Subject, reach: &Reach) -> Result<Found, NoSearch> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    search(subject, reach, &handle(), &clock, &AtomicBool::new(false), &|_| {})
}

/// Searches until something is found.
pub fn searched_for_one(subject: &Subject, reach: &Reach) -> Result<Found, NoSearch> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let stop = AtomicBool::new(false);
    let enough = |progress: Progress| stop.store(progress.violations > 0, Ordering::Release);
    search(subject, reach, &handle(), &clock, &stop, &enough)
}

/// What was found, with stories, as text.
pub fn stories(subject: &Subject, found: &Found) -> String {
    let told: Result<Vec<Told>, EffectError> =
        found.violations.iter().map(|violation| tell(subject, violation, &handle())).collect();
    let text = |told: &Told| {
        let story = told.story.join("\n    ");
        format!(
            "{}: {} ({} runs)\n  when {}\n    {story}\n",
            told.finding.property, told.finding.what, told.attempts, told.attempt
        )
    };
    told.unwrap().iter().map(text).collect()
}
