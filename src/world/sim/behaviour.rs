//! How an app behaves once its container is started. Plain data; knows nothing of containers or of time's course.
//!
//! Faults: refuses to start; dies after a while or at once; never ready; slow to be ready, to answer or to stop;
//! ignores SIGTERM; answers any status on any path; falls ill after a while; needs more memory than there is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exec::Program;

/// The behaviour of an image's app. Times count from the container's start, in virtual milliseconds.
/// The default is a web app that listens on `$PORT`, else 5000, after 300 ms and answers 200 on every path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    pub boot_ms: u64,
    /// Whether it ever listens.
    pub ready: bool,
    /// The port that it listens on and exposes, unless the environment has a `PORT`; 0 is every port that it is asked on.
    pub port: u16,
    /// The answer on every path that `paths` does not name.
    pub page: Page,
    pub paths: BTreeMap<String, Page>,
    /// From then on every path answers 500.
    pub sick_after_ms: Option<u64>,
    pub dies_after_ms: Option<u64>,
    /// Of a death by itself.
    pub exit_code: i64,
    /// The engine's complaint when it cannot start the program at all.
    pub fails_to_start: Option<String>,
    pub memory_mb: u64,
    /// Written at the start.
    pub log: Vec<String>,
    /// Written before a death by itself.
    pub last_words: Vec<String>,
    /// From the stop signal to the end.
    pub stops_in_ms: u64,
    /// Of an end by the stop signal.
    pub stop_exit_code: i64,
    pub ignores_term: bool,
    /// What programs run inside it leave, by their command line; others succeed without a word. A container whose own
    /// command is among them runs it, and ends.
    pub programs: BTreeMap<String, Program>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            boot_ms: 300,
            ready: true,
            port: 5000,
            page: Page::default(),
            paths: BTreeMap::new(),
            sick_after_ms: None,
            dies_after_ms: None,
            exit_code: 1,
            fails_to_start: None,
            memory_mb: 64,
            log: vec!["listening".into()],
            last_words: Vec::new(),
            stops_in_ms: 100,
            stop_exit_code: 0,
            ignores_term: false,
            programs: BTreeMap::new(),
        }
    }
}

/// One HTTP answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Page {
    pub status: u16,
    pub body: String,
    /// The body as a value, in place of `body`.
    pub json: Option<Value>,
    /// Virtual time that the answer takes.
    pub takes_ms: u64,
    /// Of the visitors of a route, every so many-th is answered with 500; 0 for none. Who asks by name is answered.
    pub fails_every: u64,
}

impl Default for Page {
    fn default() -> Self {
        Self { status: 200, body: "ok".into(), json: None, takes_ms: 2, fails_every: 0 }
    }
}

impl Page {
    pub fn status(status: u16) -> Self {
        Self { status, body: format!("status {status}"), ..Self::default() }
    }

    /// The body as it goes over the wire.
    pub(super) fn text(&self) -> String {
        self.json.as_ref().map_or_else(|| self.body.clone(), Value::to_string)
    }
}

impl Behaviour {
    /// Of an app that nobody has described: it listens wherever it is asked, and is well.
    pub fn unknown() -> Self {
        Self { port: 0, ..Self::default() }
    }

    /// The answer to a request, `uptime_ms` after the start; none while nothing listens.
    pub(super) fn answer(&self, path: &str, uptime_ms: u64) -> Option<Page> {
        if !self.ready || uptime_ms < self.boot_ms {
            return None;
        }
        if self.sick_after_ms.is_some_and(|after| uptime_ms >= after) {
            return Some(Page::status(500));
        }
        let path = path.split(['?', '#']).next().unwrap_or(path);
        Some(self.paths.get(path).unwrap_or(&self.page).clone())
    }
}
