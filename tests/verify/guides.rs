//! The two guides, transcribed literally: `verify` names what is wrong with each, by itself.

use deployer::verify::property::Property;
use deployer::verify::search::{Found, Reach};
use deployer::verify::subject::{Gap, Scenario, Subject};
use deployer::verify::violation::tell;
use serde_json::{Value, json};

use crate::rig::{Replaced, handle, reach, searched, stories, subject};
use crate::scenes::composed;
use deployer::world::sim::{Behaviour, Placed, SimImage};

const LOGO: &str = include_str!("../../examples/guides/logo_detection.rhai");
const MANUAL: &str = include_str!("../../examples/guides/manual_generator.rhai");

pub fn logo() -> Subject {
    let app = || Behaviour { port: 8000, ..Behaviour::default() };
    let images = vec![SimImage::new("logo:v1", app()), SimImage::new("logo:v2", app())];
    let spec = json!({"name": "logo-detection-api", "image": "logo:v1", "ports": ["8000:8000"]});
    let containers = vec![Placed::new(serde_json::from_value(spec).unwrap())];
    let scenario = Scenario { images, containers, ..Scenario::bare() };
    subject("logo_detection.rhai", LOGO, Replaced::default(), json!({"image": "logo:v2"}), scenario)
}

pub fn manual(gap_ms: u64) -> Subject {
    let given: Value = json!({"service": "web", "image": "web:v2", "compose_service": "web"});
    let mut subject = subject("manual_generator.rhai", MANUAL, Replaced::default(), given, composed(false));
    subject.gap = Some(Gap::of(gap_ms));
    subject
}

fn told(subject: &Subject, found: &Found, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let stories = found.violations.iter().map(|violation| tell(subject, violation, &handle()).unwrap());
    stories
        .map(|told| format!("{}\n{}", told.finding.what, told.story.join("\n")))
        .filter(|text| wanted(text))
        .collect()
}

#[test]
fn the_logo_guide_stops_before_it_switches() {
    let subject = logo();
    let found = searched(&subject, &reach(1)).unwrap();
    let first = &found.violations[0];
    assert_eq!(
        (first.finding.property, first.attempt.0.len()),
        (Property::Serving, 0),
        "{}",
        stories(&subject, &found)
    );
    let story = tell(&subject, first, &handle()).unwrap().story;
    assert!(story.len() <= 10, "{story:#?}");
    let text = story.join("\n");
    for needed in ["logo_detection.rhai:", "docker_kill logo-detection-api", "connections are refused, for good"] {
        assert!(text.contains(needed), "no `{needed}` in\n{text}");
    }
}

#[test]
fn the_manual_guide_stops_blue_before_anybody_takes_over() {
    let subject = manual(0);
    let found = searched(&subject, &reach(1)).unwrap();
    let text = told(&subject, &found, |text| text.contains("docker_stop web") && text.contains("refused for"));
    assert!(!text.is_empty(), "{}", stories(&subject, &found));
}

#[test]
fn the_manual_guide_leaves_nobody_when_compose_fails_after_blue_has_gone() {
    // Whoever accepts the gap sees the rest.
    let subject = manual(200_000);
    let found = searched(&subject, &Reach { seconds: Some(120), ..reach(2) }).unwrap();
    let text = told(&subject, &found, |text| {
        text.contains("nobody answers at the end") && text.contains("! ") && text.contains("compose_up")
    });
    assert!(!text.is_empty(), "{}", stories(&subject, &found));
    assert!(text.iter().all(|story| story.lines().count() <= 11), "{text:#?}");
}
