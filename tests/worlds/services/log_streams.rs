//! Archiving the logs of containers to CloudWatch Logs.

use std::sync::Arc;

use deployer::effect::ErrorKind;
use deployer::world::clock::SystemClock;
use deployer::world::services::Services;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{Fixture, SECRET};
use crate::support::logs_server::{Fault, LogsServer};
use crate::support::s3_server::{ACCESS_KEY, REGION, SECRET_KEY};

/// A container `web` with this many log lines, a millisecond apart; the first line is this old.
fn fixture(lines: i64, ago: jiff::Span) -> (Fixture, i64) {
    let fixture = Fixture::new();
    fixture.engine.add_container("web", None);
    let first = Timestamp::now() - ago;
    let line = |number: i64| format!("{:.9} line {number}", first + number.milliseconds());
    fixture.engine.log("web", (0..lines).map(line));
    (fixture, first.as_millisecond())
}

fn archive(server: &LogsServer, to: &str) -> Value {
    json!({ "container": "web", "to": to, "s3": server.access() })
}

#[tokio::test]
async fn a_log_is_archived_despite_faults_and_only_once_after_a_crash() {
    let server = LogsServer::start();
    let (fixture, first) = fixture(25_000, 1.hour());
    fixture.engine.log("web", ["x".repeat(300_000), String::new(), "ends with ä".into()]);
    server.fail("CreateLogStream", [Fault::Error]);
    server.fail("PutLogEvents", [Fault::Throttled, Fault::Error]);
    let archived = fixture.ask("container_archive", archive(&server, "cloudwatch:///app/web/")).await.unwrap();
    let url = archived["url"].as_str().unwrap();
    let stream = url.strip_prefix("cloudwatch:///app/web/").unwrap();
    assert!(stream.starts_with("web-"), "{url}");
    let events = server.events("/app/web", stream);
    assert_eq!((events[0].0, events[0].1.as_str()), (first, "line 0"));
    assert_eq!(events[24_999].1, "line 24999");
    let rest: String = events[25_000..].iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(rest, format!("{} ends with ä", "x".repeat(300_000)));
    let facts = server.events("/app/web", &format!("{stream}.json"));
    let facts_of_run: Value = serde_json::from_str(&facts[0].1).unwrap();
    assert_eq!((facts.len(), &facts_of_run["container"]["name"]), (1, &json!("web")));
    assert_eq!(archived["facts"], format!("{url}.json"));
    // Again, as after a crash: the same streams, without repeated events.
    let again = fixture.ask("container_archive", archive(&server, "cloudwatch:///app/web/")).await.unwrap();
    assert_eq!((&again["url"], server.streams("/app/web").len()), (&archived["url"], 2));
    assert_eq!(server.events("/app/web", stream), events);
    assert_eq!(server.asked("CreateLogGroup"), 1);
}

#[tokio::test]
async fn a_named_stream_is_appended_to_or_replaced() {
    let server = LogsServer::start();
    let (fixture, _) = fixture(3, 1.minute());
    for (more, count) in [(json!({}), 3), (json!({}), 6), (json!({ "overwrite": true }), 3)] {
        let mut args = archive(&server, "cloudwatch://web/live");
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fixture.ask("container_archive", args).await.unwrap();
        assert_eq!(server.events("web", "live").len(), count);
    }
}

#[tokio::test]
async fn old_lines_are_not_lost() {
    let server = LogsServer::start();
    let (fixture, first) = fixture(3, (20 * 24).hours());
    fixture.engine.log("web", [format!("{:.3} of last week", Timestamp::now() - (6 * 24).hours()), "of today".into()]);
    fixture.ask("container_archive", archive(&server, "cloudwatch://web/old")).await.unwrap();
    let texts: Vec<String> = server.events("web", "old").into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts.len(), 5);
    let time: Timestamp = texts[0].split_once(' ').unwrap().0.parse().unwrap();
    assert_eq!((time.as_millisecond(), texts[0].ends_with(" line 0")), (first, true), "{texts:?}");
    assert_eq!(texts[3], "of last week");
    server.retain(1);
    fixture.ask("container_archive", archive(&server, "cloudwatch://web/short")).await.unwrap();
    let events = server.events("web", "short");
    assert_eq!(events.len(), 5);
    assert!(
        events.iter().any(|(_, text)| text.ends_with("Z of last week")),
        "the time is part of the text: {events:?}"
    );
}

#[tokio::test]
async fn denied_access_is_an_error_and_retries_are_limited() {
    let server = LogsServer::start();
    let (fixture, _) = fixture(3, 1.minute());
    let with = |key: &str, value: Value| {
        let mut args = archive(&server, "cloudwatch://web/");
        args["s3"][key] = value;
        args
    };
    let token = json!({"secret_text": [{"secret": "TOKEN"}]});
    for args in [with("access_key", json!("unknown")), with("secret_key", json!("no")), with("secret_key", token)] {
        let error = fixture.refused("container_archive", args).await;
        assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
        assert!(!format!("{error:?}").contains(SECRET));
    }
    let invalid = fixture.refused("container_archive", with("secret_key", json!("two\nlines"))).await;
    assert_eq!(invalid.kind, ErrorKind::Invalid, "{invalid:?}");
    let mut without_region = archive(&server, "cloudwatch://web/");
    without_region["s3"].as_object_mut().unwrap().remove("region");
    let error = fixture.refused("container_archive", without_region).await;
    assert!(error.kind == ErrorKind::Invalid && error.hint.unwrap().contains("AWS_REGION"));
    server.fail("PutLogEvents", [Fault::Denied]);
    let error = fixture.refused("container_archive", archive(&server, "cloudwatch://web/")).await;
    assert!(error.kind == ErrorKind::Refused && error.detail.unwrap().contains("AccessDeniedException"));
    let unreachable = fixture.refused("container_archive", with("endpoint", json!("http://127.0.0.1:1"))).await;
    assert!(
        unreachable.kind == ErrorKind::Unavailable && unreachable.message.contains("connection refused"),
        "{unreachable:?}"
    );
    server.fail("PutLogEvents", [Fault::Error; 100]);
    let mut slow = archive(&server, "cloudwatch://web/");
    slow["timeout"] = json!("500ms");
    let error = fixture.refused("container_archive", slow).await;
    assert_eq!(error.kind, ErrorKind::Timeout, "{error:?}");
    let object = json!({ "path": "/etc/hostname", "to": "cloudwatch://web/x" });
    assert!(deployer::effect::Effect::decode("object_put", object).is_err(), "a log group cannot store objects");
}

#[tokio::test]
async fn the_environment_provides_endpoint_and_credentials() {
    let server = LogsServer::start();
    let (fixture, _) = fixture(3, 1.minute());
    let known = [
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", server.url()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
    ];
    let env = move |asked: &str| known.iter().find(|(key, _)| *key == asked).map(|(_, value)| value.clone());
    let services = Services::new(fixture.engine.clone(), Arc::new(SystemClock::default()), Arc::new(env));
    let fixture = Fixture { services, ..fixture };
    fixture.ask("container_archive", json!({ "container": "web", "to": "cloudwatch://web/live" })).await.unwrap();
    assert_eq!(server.events("web", "live").len(), 3);
}
