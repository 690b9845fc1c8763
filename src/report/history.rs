//! The table of runs. Knows their summaries; the caller says which processes are alive.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::layout::{Tone, between, columns, fit, one_line, took};
use super::table::{Cell, Overflow, Table};
use crate::journal::entry::{RunHeader, RunStatus, RunSummary};

/// The status of a run that has not ended and has no process any more.
const KILLED: &str = "killed";
/// The name of the column that a narrow table leaves out.
const ENGINE: &str = "ENGINE";
const HEADINGS: [&str; 8] = ["RUN", "WHEN", "SERVICE", "SCRIPT", ENGINE, "STATUS", "TOOK", "WHY"];
/// From this width on, the engine is shown.
const ENGINE_WIDTH: usize = 120;
/// Maximum width of the name of a script or a service.
const NAME_MOST: usize = 24;
/// From this width on, the date is shown too.
const DATED_WIDTH: usize = 140;

/// The history of runs.
pub struct History<'a> {
    /// The runs, in the order in which they are listed.
    pub runs: &'a [RunSummary],
    /// Milliseconds since 1970, UTC.
    pub now_ms: i64,
    /// Whether the process of a run without an end is still alive.
    pub alive: &'a dyn Fn(&RunHeader) -> bool,
}

impl History<'_> {
    /// Returns the table, with a line break after each line.
    pub fn table(&self, width: usize, colour: bool) -> String {
        let is_shown = |heading: &&str| *heading != ENGINE || width >= ENGINE_WIDTH;
        let mut table = Table::new(HEADINGS.into_iter().filter(is_shown), Overflow::Cut);
        for run in self.runs {
            let cells = HEADINGS.iter().zip(self.row(run, width >= DATED_WIDTH));
            table.push(cells.filter(|(heading, _)| is_shown(heading)).map(|(_, cell)| cell).collect());
        }
        table.wrap_if_room(width).render(width, colour)
    }

    /// Returns one JSON object a line: the summary of each run, with the status `killed` for interrupted runs.
    pub fn json_lines(&self) -> String {
        let line = |run: &RunSummary| {
            let mut value = json!(run);
            value["status"] = Value::String(self.status(run));
            value["took_ms"] = json!(run.ended_at_ms.map(|ended_ms| between(run.started_at_ms, ended_ms)));
            format!("{value}\n")
        };
        self.runs.iter().map(line).collect()
    }

    fn row(&self, run: &RunSummary, dated: bool) -> Vec<Cell> {
        let status = self.status(run);
        let ended_ms = match run.ended_at_ms {
            None if status == KILLED => None,
            None => Some(self.now_ms),
            ended_ms => ended_ms,
        };
        let took = ended_ms.map_or_else(|| "?".into(), |ended_ms| took(between(run.started_at_ms, ended_ms)));
        let why = match &run.error {
            Some(error) => one_line(error.lines().next().unwrap_or_default()),
            None if status == KILLED => "interrupted: its process no longer exists".into(),
            None => String::new(),
        };
        let ago = ago(between(run.started_at_ms, self.now_ms));
        let when = if dated { format!("{ago} ({})", utc(run.started_at_ms)) } else { ago };
        vec![
            run.run.to_string().into(),
            when.into(),
            fit(&one_line(&services(&run.header).join(", ")), NAME_MOST).into_owned().into(),
            script(&run.header.script).into(),
            run.header.engine.as_str().into(),
            Cell::new(tone(&status), &status),
            took.into(),
            why.into(),
        ]
    }

    fn status(&self, run: &RunSummary) -> String {
        if run.status == RunStatus::Running && !(self.alive)(&run.header) {
            KILLED.into()
        } else {
            run.status.to_string()
        }
    }
}

/// Returns the services that the parameters of a run name: `service`, or `services`.
pub fn services(header: &RunHeader) -> Vec<&str> {
    match (&header.params["service"], &header.params["services"]) {
        (Value::String(service), _) => vec![service],
        (_, Value::Array(services)) => services.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Shortens a long path to its last part, which tells scripts apart.
fn script(path: &str) -> String {
    let path = one_line(path);
    let name = path.rsplit('/').next().filter(|_| columns(&path) > NAME_MOST).unwrap_or(&path);
    fit(name, NAME_MOST).into_owned()
}

fn tone(status: &str) -> Tone {
    match status {
        "succeeded" => Tone::Good,
        "failed" | "stuck" | KILLED => Tone::Bad,
        "running" => Tone::Strong,
        _ => Tone::Warn,
    }
}

/// Formats an age: `12s ago`, `3m ago`, `5h ago`, `2d ago`.
pub(super) fn ago(ms: u64) -> String {
    let secs = ms / 1_000;
    match secs {
        0..60 => format!("{secs}s ago"),
        60..3_600 => format!("{}m ago", secs / 60),
        3_600..86_400 => format!("{}h ago", secs / 3_600),
        _ => format!("{}d ago", secs / 86_400),
    }
}

fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| "?".into(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::report::samples::{START_MS, header, run};

    fn runs() -> Vec<RunSummary> {
        let one = |ago_ms: i64, took_ms: Option<i64>, status, error: Option<&str>| RunSummary {
            run: run(),
            header: header(),
            started_at_ms: START_MS - ago_ms,
            ended_at_ms: took_ms.map(|took_ms| START_MS - ago_ms + took_ms),
            status,
            error: error.map(str::to_owned),
        };
        let mut runs = vec![
            one(5_000, None, RunStatus::Running, None),
            one(130_000, Some(12_340), RunStatus::Succeeded, None),
            one(
                7_200_000,
                Some(61_000),
                RunStatus::Failed,
                Some("container `web-green` never became healthy: 503\nmore"),
            ),
            one(300_000_000, None, RunStatus::Running, None),
        ];
        runs[3].header.process.pid = 1;
        runs[1].header.script = "ein/langer/ordner/デプロイ/bluegreen.rhai".into();
        runs
    }

    fn history(runs: &[RunSummary]) -> History<'_> {
        History { runs, now_ms: START_MS, alive: &|header| header.process.pid != 1 }
    }

    #[test]
    fn wide_and_narrow_tables() {
        let runs = runs();
        assert_snapshot!(history(&runs).table(140, false), @r"
RUN         WHEN                           SERVICE  SCRIPT          ENGINE  STATUS     TOOK    WHY
0123456789  5s ago (2026-03-01 11:59 UTC)  web      bluegreen.rhai  docker  running    5.00s
0123456789  2m ago (2026-03-01 11:57 UTC)  web      bluegreen.rhai  docker  succeeded  12.3s
0123456789  2h ago (2026-03-01 10:00 UTC)  web      bluegreen.rhai  docker  failed     1m 01s  container `web-green` never became healthy:
                                                                                               503
0123456789  3d ago (2026-02-26 00:40 UTC)  web      bluegreen.rhai  docker  killed     ?       interrupted: its process no longer exists
");
        assert_snapshot!(history(&runs).table(100, false), @r"
RUN         WHEN    SERVICE  SCRIPT          STATUS     TOOK    WHY
0123456789  5s ago  web      bluegreen.rhai  running    5.00s
0123456789  2m ago  web      bluegreen.rhai  succeeded  12.3s
0123456789  2h ago  web      bluegreen.rhai  failed     1m 01s  container `web-green` never became
                                                                healthy: 503
0123456789  3d ago  web      bluegreen.rhai  killed     ?       interrupted: its process no longer
                                                                exists
");
        assert_snapshot!(history(&runs).table(70, false), @r"
RUN         WHEN    SERVICE  SCRIPT          STATUS     TOOK    WHY
0123456789  5s ago  web      bluegreen.rhai  running    5.00s
0123456789  2m ago  web      bluegreen.rhai  succeeded  12.3s
0123456789  2h ago  web      bluegreen.rhai  failed     1m 01s  conta…
0123456789  3d ago  web      bluegreen.rhai  killed     ?       inter…
");
        assert_eq!(console::strip_ansi_codes(&history(&runs).table(80, true)), history(&runs).table(80, false));
    }

    #[test]
    fn json_has_the_status_of_killed_runs() {
        let runs = runs();
        let lines = history(&runs).json_lines();
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!((last["status"].as_str(), &last["took_ms"]), (Some("killed"), &Value::Null));
        let second: Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
        assert_eq!((second["status"].as_str(), second["took_ms"].as_u64()), (Some("succeeded"), Some(12_340)));
    }
}
