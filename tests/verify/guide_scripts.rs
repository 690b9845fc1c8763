//! The deploy scripts of the two guides, transcribed literally: `verify` finds what is wrong with each.

use deployer::verify::property::Property;
use deployer::verify::search::{Found, SearchLimits};
use deployer::verify::target::{Gap, Scenario, VerifyTarget};
use deployer::verify::violation::tell;
use serde_json::{Value, json};

use crate::deploy_cases::composed;
use crate::fixture::{ModuleOverrides, handle, limits, render_violations, run_search, target};
use deployer::world::sim::{Behaviour, InitialContainer, SimImage};

const LOGO: &str = include_str!("../../examples/guides/logo_detection.rhai");
const MANUAL: &str = include_str!("../../examples/guides/manual_generator.rhai");

pub fn logo() -> VerifyTarget {
    let app = || Behaviour { port: 8000, ..Behaviour::default() };
    let images = vec![SimImage::new("logo:v1", app()), SimImage::new("logo:v2", app())];
    let spec = json!({"name": "logo-detection-api", "image": "logo:v1", "ports": ["8000:8000"]});
    let containers = vec![InitialContainer::new(serde_json::from_value(spec).unwrap())];
    let scenario = Scenario { images, containers, ..Scenario::bare() };
    target("logo_detection.rhai", LOGO, ModuleOverrides::default(), json!({"image": "logo:v2"}), scenario)
}

pub fn manual(gap_ms: u64) -> VerifyTarget {
    let given: Value = json!({"service": "web", "image": "web:v2", "compose_service": "web"});
    let mut target = target("manual_generator.rhai", MANUAL, ModuleOverrides::default(), given, composed(false));
    target.gap = Some(Gap::of(gap_ms));
    target
}

/// The reports of the violations that match.
fn matching_reports(target: &VerifyTarget, found: &Found, matches: impl Fn(&str) -> bool) -> Vec<String> {
    let violations = found.violations.iter().map(|violation| tell(target, violation, &handle()).unwrap());
    violations
        .map(|violation| format!("{}\n{}", violation.finding.what, violation.story.join("\n")))
        .filter(|text| matches(text))
        .collect()
}

#[test]
fn the_logo_guide_stops_the_old_version_before_the_cutover() {
    let target = logo();
    let found = run_search(&target, &limits(1)).unwrap();
    let first = &found.violations[0];
    assert_eq!(
        (first.finding.property, first.attempt.0.len()),
        (Property::Serving, 0),
        "{}",
        render_violations(&target, &found)
    );
    let timeline = tell(&target, first, &handle()).unwrap().story;
    assert!(timeline.len() <= 10, "{timeline:#?}");
    let text = timeline.join("\n");
    for needed in ["logo_detection.rhai:", "docker_kill logo-detection-api", "connections are refused, until the end"] {
        assert!(text.contains(needed), "no `{needed}` in\n{text}");
    }
}

#[test]
fn the_manual_guide_stops_blue_before_green_serves() {
    let target = manual(0);
    let found = run_search(&target, &limits(1)).unwrap();
    let text =
        matching_reports(&target, &found, |text| text.contains("docker_stop web") && text.contains("refused for"));
    assert!(!text.is_empty(), "{}", render_violations(&target, &found));
}

#[test]
fn the_manual_guide_leaves_no_live_version_when_compose_fails_after_blue_was_removed() {
    // With the gap accepted, the search finds the other violations.
    let target = manual(200_000);
    let found = run_search(&target, &SearchLimits { seconds: Some(120), ..limits(2) }).unwrap();
    let text = matching_reports(&target, &found, |text| {
        text.contains("there is no answer at the end") && text.contains("! ") && text.contains("compose_up")
    });
    assert!(!text.is_empty(), "{}", render_violations(&target, &found));
    assert!(text.iter().all(|timeline| timeline.lines().count() <= 11), "{text:#?}");
}
