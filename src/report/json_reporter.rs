//! For programs: one JSON object a line, each entry as the journal keeps it. The schema is docs/src/events.md.

use std::io::Write;

use serde::Serialize;

use super::{Output, Reporter};
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::journal::entry::RunEvent;

/// Writes each event as one line of JSON.
pub struct JsonReporter {
    data: Box<dyn Write + Send>,
}

/// Progress has no number, because it is not stored.
#[derive(Serialize)]
struct ProgressLine<'a> {
    run: &'a RunId,
    entry: &'static str,
    seq: &'a Seq,
    at_ms: i64,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction: Option<f32>,
}

impl JsonReporter {
    pub fn new(output: Output) -> Self {
        Self { data: output.data }
    }

    fn write(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.data.write_all(&text)?;
        self.data.flush()
    }
}

impl Reporter for JsonReporter {
    fn show(&mut self, event: &RunEvent) {
        let written = match event {
            RunEvent::Recorded(record) => self.write(record),
            RunEvent::Progress { run, seq, at_ms, text, fraction } => {
                let (at_ms, fraction) = (*at_ms, *fraction);
                self.write(&ProgressLine { run, entry: "progress", seq, at_ms, text, fraction })
            }
        };
        // A deploy continues when its reader has gone; the journal has everything.
        drop(written);
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use crate::journal::entry::{Entry, Record, RunEvent};
    use crate::report::samples::drawn;
    use crate::report::{DisplayOptions, Format};

    const EVENTS: &str = include_str!("../../docs/src/events.md");

    /// The name, the words and the examples of every section.
    fn sections() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
        let section = |text: &'static str| {
            let (name, rest) = text.split_once('`')?;
            let (words, examples) = rest.split_once("```json\n")?;
            Some((name, words, examples.split("```").next()?.lines().collect()))
        };
        EVENTS.split("\n## `").skip(1).filter_map(section).collect()
    }

    /// Names that are read from old journals, but not written any more.
    const OLD_NAMES: [&str; 1] = ["unwind_started"]; // an alias

    /// Every name that an entry can have: what serde expected instead of an unknown one.
    fn names() -> BTreeSet<String> {
        let error = serde_json::from_str::<Entry>(r#"{"entry":"?"}"#).unwrap_err().to_string();
        let names = error.split('`').skip(3).step_by(2);
        names.filter(|name| !OLD_NAMES.contains(name)).map(str::to_owned).collect()
    }

    #[test]
    fn every_entry_is_documented_with_examples_that_are_true() {
        let mut documented = BTreeSet::new();
        for (name, words, examples) in sections() {
            assert!(!examples.is_empty(), "{name}");
            documented.insert(name.to_owned());
            for example in examples.iter().filter(|_| name != "progress") {
                let value: Value = serde_json::from_str(example).unwrap();
                let record: Record = serde_json::from_str(example).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(record.entry.name(), name);
                assert_eq!(serde_json::to_value(&record).unwrap(), value, "{name}");
            }
            let keys = |value: &Value| -> Vec<String> {
                value.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
            };
            let nested = ["header", "intent", "error", "end"];
            for example in examples {
                let value: Value = serde_json::from_str(example).unwrap();
                let outer = keys(&value).into_iter().filter(|key| !["run", "n", "at_ms", "entry"].contains(&&**key));
                let inner = nested.iter().flat_map(|key| keys(&value[key]));
                for key in outer.chain(inner) {
                    assert!(words.contains(&format!("`{key}`")), "{name}: `{key}` is not explained");
                }
            }
        }
        assert!(documented.remove("progress"));
        assert_eq!(documented, names());
    }

    #[test]
    fn progress_is_written_as_documented() {
        let (_, _, examples) = sections().into_iter().find(|(name, ..)| *name == "progress").unwrap();
        let value: Value = serde_json::from_str(examples[0]).unwrap();
        let event = RunEvent::Progress {
            run: value["run"].as_str().unwrap().parse().unwrap(),
            seq: value["seq"].as_str().unwrap().parse().unwrap(),
            at_ms: value["at_ms"].as_i64().unwrap(),
            text: value["text"].as_str().unwrap().into(),
            fraction: Some(0.5),
        };
        let display = DisplayOptions { colour: false, width: 80, live: true, verbose: false, temporary: false };
        assert_eq!(drawn(Format::Json, display, &[event]).0.trim_end(), examples[0]);
    }
}
