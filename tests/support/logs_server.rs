//! CloudWatch Logs in this process, on loopback: groups, streams and events in memory, signatures verified, every limit
//! of the service held, and faults on request. Needs no runtime and no package.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::signature::{ACCESS_KEY, REGION, SECRET_KEY, Signed, verify};
use super::webhook_receiver::{Answer, Received, WebhookReceiver};

const EVENTS: usize = 10_000;
const BATCH: usize = 1_048_576;
const OVERHEAD: usize = 26;
const DAY_MS: i64 = 24 * 3600 * 1000;
const OLDEST_MS: i64 = 14 * DAY_MS;
const NEWEST_MS: i64 = 2 * 3600 * 1000;

/// What goes wrong with the next requests of an action.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Answers 500.
    Error,
    Throttled,
    Denied,
}

#[derive(Default)]
struct State {
    /// Events of every stream, by group and stream.
    groups: BTreeMap<String, BTreeMap<String, Vec<(i64, String)>>>,
    faults: Vec<(&'static str, Fault)>,
    /// Older events have expired.
    retention_ms: Option<i64>,
}

pub struct LogsServer {
    receiver: WebhookReceiver,
    state: Arc<Mutex<State>>,
}

impl LogsServer {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let receiver = WebhookReceiver::answering(move |asked| answer(&mut shared.lock().unwrap(), asked));
        Self { receiver, state }
    }

    /// The `s3` option of a request, with the right keys in plain text.
    pub fn access(&self) -> Value {
        json!({ "endpoint": self.url(), "region": REGION, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY })
    }

    pub fn url(&self) -> String {
        self.receiver.url("")
    }

    /// The next requests of this action fail, one fault each.
    pub fn fail(&self, action: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults.into_iter().map(|fault| (action, fault)));
    }

    /// Groups keep events for so long.
    pub fn retain(&self, days: i64) {
        self.state.lock().unwrap().retention_ms = Some(days * DAY_MS);
    }

    /// Names of the streams of a group.
    pub fn streams(&self, group: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.groups.get(group).map(|streams| streams.keys().cloned().collect()).unwrap_or_default()
    }

    /// Times and texts of a stream.
    pub fn events(&self, group: &str, stream: &str) -> Vec<(i64, String)> {
        self.state.lock().unwrap().groups[group][stream].clone()
    }

    /// Actions so far.
    pub fn asked(&self, action: &str) -> usize {
        self.receiver.received().iter().filter(|asked| action_of(asked) == action).count()
    }
}

fn action_of(asked: &Received) -> &str {
    asked.headers.get("x-amz-target").and_then(|target| target.strip_prefix("Logs_20140328.")).unwrap_or_default()
}

fn refused(name: &str, message: &str) -> Answer {
    Answer::new(400, json!({ "__type": name, "message": message }).to_string())
}

fn answer(state: &mut State, asked: &Received) -> Answer {
    let action = action_of(asked);
    if let Some(at) = state.faults.iter().position(|(of, _)| *of == action) {
        return match state.faults.remove(at).1 {
            Fault::Error => Answer::new(500, "{}"),
            Fault::Throttled => refused("ThrottlingException", "Rate exceeded"),
            Fault::Denied => refused("AccessDeniedException", "User is not authorized"),
        };
    }
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let signed = Signed { method: &asked.method, path, query, headers: &asked.headers, body: asked.body.as_bytes() };
    if let Err(why) = verify(&signed, "logs") {
        let name =
            if why == "InvalidAccessKeyId" { "UnrecognizedClientException" } else { "InvalidSignatureException" };
        return refused(name, why);
    }
    let body = asked.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let (group, stream) = (text("logGroupName"), text("logStreamName"));
    let missing = || refused("ResourceNotFoundException", "The specified log group or stream does not exist.");
    match action {
        "CreateLogGroup" if state.groups.contains_key(&group) => refused("ResourceAlreadyExistsException", "there"),
        "CreateLogGroup" => {
            state.groups.insert(group, BTreeMap::new());
            Answer::new(200, "")
        }
        "CreateLogStream" => match state.groups.get_mut(&group) {
            None => missing(),
            Some(streams) if streams.contains_key(&stream) => refused("ResourceAlreadyExistsException", "there"),
            Some(streams) => {
                streams.insert(stream, Vec::new());
                Answer::new(200, "")
            }
        },
        "DeleteLogStream" => match state.groups.get_mut(&group).and_then(|streams| streams.remove(&stream)) {
            None => missing(),
            Some(_) => Answer::new(200, ""),
        },
        "PutLogEvents" => {
            let retention_ms = state.retention_ms;
            match state.groups.get_mut(&group).and_then(|streams| streams.get_mut(&stream)) {
                None => missing(),
                Some(events) => put(events, &body["logEvents"], retention_ms),
            }
        }
        _ => refused("UnknownOperationException", action),
    }
}

fn put(events: &mut Vec<(i64, String)>, batch: &Value, retention_ms: Option<i64>) -> Answer {
    let batch: Vec<(i64, String)> = batch
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["timestamp"].as_i64().unwrap(), event["message"].as_str().unwrap().to_owned()))
        .collect();
    let invalid = |why: &str| refused("InvalidParameterException", why);
    let bytes: usize = batch.iter().map(|(_, text)| text.len() + OVERHEAD).sum();
    if batch.is_empty() || batch.len() > EVENTS || bytes > BATCH {
        return invalid("Upload too large");
    }
    if batch.iter().any(|(_, text)| text.is_empty()) {
        return invalid("Member must have length greater than or equal to 1");
    }
    if !batch.is_sorted_by_key(|(at, _)| *at) {
        return invalid("Log events in a single PutLogEvents request must be in chronological order.");
    }
    if batch[batch.len() - 1].0 - batch[0].0 > DAY_MS {
        return invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.");
    }
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let below = |age_ms: i64| batch.iter().take_while(|(at, _)| *at < now_ms - age_ms).count();
    let (too_old, expired) = (below(OLDEST_MS), retention_ms.map_or(0, below));
    let too_new = batch.iter().take_while(|(at, _)| *at <= now_ms + NEWEST_MS).count();
    events.extend_from_slice(&batch[too_old.max(expired).min(too_new)..too_new]);
    let mut rejected = json!({});
    for (key, index, is_any) in [
        ("tooOldLogEventEndIndex", too_old, too_old > 0),
        ("expiredLogEventEndIndex", expired, expired > 0),
        ("tooNewLogEventStartIndex", too_new, too_new < batch.len()),
    ] {
        if is_any {
            rejected[key] = json!(index);
        }
    }
    let mut answer = json!({ "nextSequenceToken": "49590302938403" });
    if rejected != json!({}) {
        answer["rejectedLogEventsInfo"] = rejected;
    }
    Answer::new(200, answer.to_string())
}
