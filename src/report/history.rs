//! The table of runs. Knows their summaries, and of the machine only what its caller says of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::layout::{Paint, Tone, between, columns, fit, one_line, took};
use crate::journal::entry::{RunHeader, RunStatus, RunSummary};

/// What a run is called that has no end and no process.
const KILLED: &str = "killed";
const HEADS: [&str; 7] = ["RUN", "WHEN", "SCRIPT", "ENGINE", "STATUS", "TOOK", "WHY"];
/// Columns of a script's name at the most: the reason matters more.
const SCRIPT_MOST: usize = 24;
/// From this width on there is room for the date beside how long ago it was.
const DATED_WIDTH: usize = 100;
/// Columns between two cells.
const GAP: usize = 2;

/// Runs as they are listed.
pub struct History<'a> {
    pub runs: &'a [RunSummary],
    /// Milliseconds since 1970, UTC.
    pub now_ms: i64,
    /// Whether the process of a run without an end still lives.
    pub alive: &'a dyn Fn(&RunHeader) -> bool,
}

impl History<'_> {
    /// The table, with a line end after each line. Only the last column is cut to fit.
    pub fn table(&self, width: usize, colour: bool) -> String {
        let paint = Paint { colour };
        let rows: Vec<[String; 7]> = self.runs.iter().map(|run| self.row(run, width >= DATED_WIDTH)).collect();
        let heads = HEADS.map(str::to_owned);
        let wide = |column: usize| {
            let cells = std::iter::once(&heads).chain(&rows).map(|row| columns(&row[column]));
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..HEADS.len()).map(wide).collect();
        let mut table = String::new();
        for (at, row) in std::iter::once(&heads).chain(&rows).enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat((widths[column] + GAP).saturating_sub(columns(cell)));
                let tone = match (at, column) {
                    (0, _) => Tone::Quiet,
                    (_, 4) => tone(cell),
                    _ => Tone::Plain,
                };
                line = format!("{line}{}{pad}", paint.on(tone, cell));
            }
            table = format!("{table}{}\n", fit(line.trim_end(), width.max(1)));
        }
        table
    }

    /// One JSON object a line: the summary of each run, its status `killed` where that is so.
    pub fn json_lines(&self) -> String {
        let line = |run: &RunSummary| {
            let mut value = json!(run);
            value["status"] = Value::String(self.status(run));
            value["took_ms"] = json!(run.ended_at_ms.map(|ended_ms| between(run.started_at_ms, ended_ms)));
            format!("{value}\n")
        };
        self.runs.iter().map(line).collect()
    }

    fn row(&self, run: &RunSummary, dated: bool) -> [String; 7] {
        let status = self.status(run);
        let ended_ms = match run.ended_at_ms {
            None if status == KILLED => None,
            None => Some(self.now_ms),
            ended_ms => ended_ms,
        };
        let took = ended_ms.map_or_else(|| "?".into(), |ended_ms| took(between(run.started_at_ms, ended_ms)));
        let why = match &run.error {
            Some(error) => one_line(error.lines().next().unwrap_or_default()),
            None if status == KILLED => "no end is recorded and its process is gone".into(),
            None => String::new(),
        };
        let ago = ago(between(run.started_at_ms, self.now_ms));
        let when = if dated { format!("{ago} ({})", utc(run.started_at_ms)) } else { ago };
        [run.run.to_string(), when, script(&run.header.script), one_line(&run.header.engine), status, took, why]
    }

    fn status(&self, run: &RunSummary) -> String {
        if run.status == RunStatus::Running && !(self.alive)(&run.header) {
            KILLED.into()
        } else {
            run.status.to_string()
        }
    }
}

/// A long path by its last part: that is what tells scripts apart.
fn script(path: &str) -> String {
    let path = one_line(path);
    let name = path.rsplit('/').next().filter(|_| columns(&path) > SCRIPT_MOST).unwrap_or(&path);
    fit(name, SCRIPT_MOST).into_owned()
}

fn tone(status: &str) -> Tone {
    match status {
        "succeeded" => Tone::Good,
        "failed" | "stuck" | KILLED => Tone::Bad,
        "running" => Tone::Strong,
        _ => Tone::Warn,
    }
}

/// `12s ago`, `3m ago`, `5h ago`, `2d ago`.
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
RUN         WHEN                           SCRIPT          ENGINE  STATUS     TOOK    WHY
0123456789  5s ago (2026-03-01 11:59 UTC)  bluegreen.rhai  docker  running    5.00s
0123456789  2m ago (2026-03-01 11:57 UTC)  bluegreen.rhai  docker  succeeded  12.3s
0123456789  2h ago (2026-03-01 10:00 UTC)  bluegreen.rhai  docker  failed     1m 01s  container `web-green` never became healthy: 503
0123456789  3d ago (2026-02-26 00:40 UTC)  bluegreen.rhai  docker  killed     ?       no end is recorded and its process is gone
");
        assert_snapshot!(history(&runs).table(80, false), @r"
RUN         WHEN    SCRIPT          ENGINE  STATUS     TOOK    WHY
0123456789  5s ago  bluegreen.rhai  docker  running    5.00s
0123456789  2m ago  bluegreen.rhai  docker  succeeded  12.3s
0123456789  2h ago  bluegreen.rhai  docker  failed     1m 01s  container `web-g…
0123456789  3d ago  bluegreen.rhai  docker  killed     ?       no end is record…
");
        assert_eq!(console::strip_ansi_codes(&history(&runs).table(80, true)), history(&runs).table(80, false));
    }

    #[test]
    fn json_tells_of_killed_runs() {
        let runs = runs();
        let lines = history(&runs).json_lines();
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!((last["status"].as_str(), &last["took_ms"]), (Some("killed"), &Value::Null));
        let second: Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
        assert_eq!((second["status"].as_str(), second["took_ms"].as_u64()), (Some("succeeded"), Some(12_340)));
    }
}
