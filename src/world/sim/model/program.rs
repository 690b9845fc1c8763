//! Programs whose results a scenario prescribes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The result of a program. The default succeeds immediately without output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimProgram {
    /// The exit code.
    pub exit_code: i64,
    /// What it writes to standard output.
    pub stdout: String,
    /// What it writes to standard error.
    pub stderr: String,
    /// How long it runs, in virtual milliseconds.
    pub takes_ms: u64,
    /// Whether the program is not installed.
    pub missing: bool,
    /// Rows it inserts when it succeeds: `VOLUME:PATH` to table to rows.
    pub inserts: BTreeMap<String, BTreeMap<String, Vec<Map<String, Value>>>>,
    /// SQL it runs when it succeeds: `VOLUME:PATH` to statements.
    pub sql: BTreeMap<String, String>,
}
