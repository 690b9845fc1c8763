//! Properties of the reporters, for every stream of events.

use proptest::prelude::*;

use super::samples::{self, Stream, drawn};
use super::{DisplayOptions, Format};
use crate::effect::{EffectError, ErrorKind};
use crate::journal::entry::{Entry, Level, RunEvent, RunStatus};

const LOOK: DisplayOptions =
    DisplayOptions { colour: false, width: 120, live: false, verbose: false, temporary: false };
const NARROW: DisplayOptions = DisplayOptions { width: 60, ..LOOK };

fn talk(format: Format, display: DisplayOptions, events: &[RunEvent]) -> String {
    drawn(format, display, events).1
}

#[test]
fn colour_only_adds_escapes() {
    for events in [samples::success(), samples::failure(), samples::stuck(), samples::parallel(), samples::unicode()] {
        for format in [Format::Plain, Format::Pretty] {
            let coloured = talk(format, DisplayOptions { colour: true, ..LOOK }, &events);
            let bare = talk(format, LOOK, &events);
            assert!(!bare.contains('\x1b'), "{bare}");
            assert!(coloured.contains("\x1b["), "{coloured}");
            assert_eq!(console::strip_ansi_codes(&coloured), bare);
        }
    }
}

#[test]
fn live_output_contains_the_final_lines() {
    for events in [samples::success(), samples::failure(), samples::stuck(), samples::parallel(), samples::unicode()] {
        let live = talk(Format::Pretty, DisplayOptions { live: true, ..NARROW }, &events);
        let mut rest = live.as_str();
        // The first line has no date when it is live.
        for line in talk(Format::Pretty, NARROW, &events).lines().skip(1) {
            let at = rest.find(line).unwrap_or_else(|| panic!("{line:?} is missing in {live:?}"));
            rest = &rest[at + line.len()..];
        }
    }
}

#[test]
fn plain_shows_progress_every_ten_seconds() {
    let mut stream = Stream::new();
    stream.intend("1", "docker_pull", "web:v2", serde_json::json!({}));
    for second in 0..35 {
        stream.progress("1", 1_000, &format!("layer {second}"), None);
    }
    stream.complete("1", 0, serde_json::json!({}));
    let events = stream.end(samples::end(RunStatus::Succeeded));
    let text = talk(Format::Plain, LOOK, &events);
    let progress: Vec<&str> = text.lines().filter(|line| line.starts_with("...")).collect();
    assert_eq!(progress.len(), 3, "{text}");
}

#[test]
fn a_thousand_failures_in_a_step_show_the_last_ones() {
    let mut stream = Stream::new();
    stream.open("1", "Try");
    for at in 2..1_002 {
        stream.intend(&at.to_string(), "exec", &format!("try {at}"), serde_json::json!({}));
        stream.fail(&at.to_string(), 1, EffectError::new(ErrorKind::Failed, "no"));
    }
    let events = stream.close("1", false).end(samples::end(RunStatus::Failed));
    let text = talk(Format::Pretty, LOOK, &events);
    assert!(text.contains("… 980 more") && text.contains("try 1001") && !text.contains("try 900"), "{text}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,90}", "(?s).{0,30}", Just("9".repeat(64)), Just("web -> web2".to_owned())]
}

fn seq() -> impl Strategy<Value = String> {
    prop::collection::vec(0u32..5, 1..6)
        .prop_map(|path| path.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

fn events(build: impl FnOnce(&mut Stream)) -> Vec<RunEvent> {
    let mut stream = Stream::new();
    build(&mut stream);
    stream.events.split_off(1)
}

/// Events in any order, legal or not.
fn add() -> impl Strategy<Value = Vec<RunEvent>> {
    let kinds: Vec<&'static str> = crate::effect::Effect::kinds();
    let outcome = prop_oneof![
        Just(serde_json::json!(null)),
        Just(serde_json::json!({"id": "9".repeat(64), "name": "web", "removed": true})),
        Just(serde_json::json!([{"id": 7}, "x"])),
    ];
    let status =
        prop::sample::select(vec![RunStatus::Succeeded, RunStatus::Failed, RunStatus::Stuck, RunStatus::Running]);
    prop_oneof![
        (seq(), text()).prop_map(|(seq, title)| events(|s| { s.open(&seq, &title).wait(7); })),
        (seq(), any::<bool>()).prop_map(|(seq, ok)| events(|s| { s.close(&seq, ok); })),
        (seq(), prop::sample::select(kinds), text(), prop::option::of(seq())).prop_map(|(seq, kind, subject, undoes)| {
            let args = serde_json::json!({"name": subject, "container": subject, "tag": subject, "services": [1, subject]});
            events(|s| { s.intend_undoing(&seq, kind, &subject, args, undoes.as_deref()); })
        }),
        (seq(), outcome).prop_map(|(seq, outcome)| events(|s| { s.complete(&seq, 3, outcome); })),
        (seq(), text()).prop_map(|(seq, why)| {
            events(|s| { s.fail(&seq, 3, EffectError::new(ErrorKind::Failed, &*why).detail(&*why).hint(&*why)); })
        }),
        (seq(), -20_000i64..20_000, text(), any::<Option<f32>>()).prop_map(|(seq, ms, text, fraction)| {
            events(|s| { s.progress(&seq, ms, &text, fraction); })
        }),
        text().prop_map(|text| events(|s| { s.log(Level::Warn, &text); })),
        text().prop_map(|reason| events(|s| { s.entry(Entry::RollbackStarted { reason }); })),
        status.prop_map(|status| events(|s| s.events.extend(Stream::new().end(samples::end(status))))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_stream_makes_a_reporter_panic(adds in prop::collection::vec(add(), 0..40), width in 0usize..130, verbose: bool) {
        let all: Vec<RunEvent> = Stream::new().events.into_iter().chain(adds.into_iter().flatten()).collect();
        for live in [false, true] {
            let display = DisplayOptions { colour: false, width, live, verbose, temporary: false };
            for format in [Format::Pretty, Format::Plain, Format::Json] {
                drawn(format, display, &all);
            }
        }
    }
}
