//! How an app behaves after its container starts. Plain data; knows nothing of containers or the passage of time.
//!
//! Faults: cannot be started; exits at once or later; never ready; slow to become ready, to answer or to stop; ignores
//! SIGTERM; any status on any path; becomes unhealthy later; needs more memory than is available.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::program::SimProgram;

/// The behaviour of an image's app. Times are virtual milliseconds since the start of the container. The default is a
/// web app that listens on `$PORT`, or on 5000, after 300 ms and answers 200 on every path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Time until it listens.
    pub boot_ms: u64,
    /// Whether it ever listens.
    pub ready: bool,
    /// The port it listens on and exposes, unless the environment sets `PORT`. 0 stands for every port.
    pub port: u16,
    /// The response on every path that `paths` does not list.
    #[serde(alias = "page")]
    pub response: SimResponse,
    /// Responses by path.
    pub paths: BTreeMap<String, SimResponse>,
    /// When it becomes unhealthy: from then on every path answers 500.
    #[serde(alias = "sick_after_ms")]
    pub unhealthy_after_ms: Option<u64>,
    /// When it exits by itself.
    pub dies_after_ms: Option<u64>,
    /// The exit code when it exits by itself.
    pub exit_code: i64,
    /// The engine's error when it cannot start the program at all.
    pub fails_to_start: Option<String>,
    /// Memory it uses, in MB.
    pub memory_mb: u64,
    /// Log lines written at start.
    pub log: Vec<String>,
    /// Log lines written before it exits by itself.
    #[serde(alias = "last_words")]
    pub exit_log: Vec<String>,
    /// Time from the stop signal to the exit.
    pub stops_in_ms: u64,
    /// The exit code after the stop signal.
    pub stop_exit_code: i64,
    /// Whether it ignores the stop signal.
    pub ignores_term: bool,
    /// Results of programs run inside it, by command line. Other programs succeed without output. A container whose own
    /// command is listed runs that program and exits.
    pub programs: BTreeMap<String, SimProgram>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            boot_ms: 300,
            ready: true,
            port: 5000,
            response: SimResponse::default(),
            paths: BTreeMap::new(),
            unhealthy_after_ms: None,
            dies_after_ms: None,
            exit_code: 1,
            fails_to_start: None,
            memory_mb: 64,
            log: vec!["listening".into()],
            exit_log: Vec::new(),
            stops_in_ms: 100,
            stop_exit_code: 0,
            ignores_term: false,
            programs: BTreeMap::new(),
        }
    }
}

/// One HTTP response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimResponse {
    /// The status code.
    pub status: u16,
    /// The body, unless `json` is set.
    pub body: String,
    /// The body as a JSON value.
    pub json: Option<Value>,
    /// The response time, in virtual milliseconds.
    pub takes_ms: u64,
    /// Every n-th client request through a route gets 500 instead; 0 for none. Requests made by a script are not
    /// affected.
    pub fails_every: u64,
}

impl Default for SimResponse {
    fn default() -> Self {
        Self { status: 200, body: "ok".into(), json: None, takes_ms: 2, fails_every: 0 }
    }
}

impl SimResponse {
    /// Returns a response with this status and a body that names it.
    pub fn status(status: u16) -> Self {
        Self { status, body: format!("status {status}"), ..Self::default() }
    }

    /// Returns the body as sent.
    pub(crate) fn text(&self) -> String {
        self.json.as_ref().map_or_else(|| self.body.clone(), Value::to_string)
    }
}

impl Behaviour {
    /// Returns the behaviour of an app that is not described: it listens on every port and stays healthy.
    pub fn unknown() -> Self {
        Self { port: 0, ..Self::default() }
    }

    /// Returns the response to a request `uptime_ms` after the start, or `None` while the app does not listen.
    pub(crate) fn respond(&self, path: &str, uptime_ms: u64) -> Option<SimResponse> {
        if !self.ready || uptime_ms < self.boot_ms {
            return None;
        }
        if self.unhealthy_after_ms.is_some_and(|after| uptime_ms >= after) {
            return Some(SimResponse::status(500));
        }
        let path = path.split(['?', '#']).next().unwrap_or(path);
        Some(self.paths.get(path).unwrap_or(&self.response).clone())
    }
}
