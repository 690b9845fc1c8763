//! A CloudWatch Logs server in this process, on loopback. It keeps groups, streams and events in memory, verifies
//! signatures, enforces the limits of the service, and injects faults. It needs no runtime and no package.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::signature::{ACCESS_KEY, REGION, SECRET_KEY, SignedRequest, verify};
use super::webhook_receiver::{Received, WebhookReceiver, WebhookReply};

const MAX_EVENTS: usize = 10_000;
const MAX_BATCH_BYTES: usize = 1_048_576;
const EVENT_OVERHEAD_BYTES: usize = 26;
const DAY_MS: i64 = 24 * 3600 * 1000;
const MAX_AGE_MS: i64 = 14 * DAY_MS;
const MAX_FUTURE_MS: i64 = 2 * 3600 * 1000;

/// How the next request of an action fails.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Responds with status 500.
    Error,
    Throttled,
    Denied,
}

#[derive(Default)]
struct State {
    /// The events of every stream, by group and stream.
    groups: BTreeMap<String, BTreeMap<String, Vec<(i64, String)>>>,
    faults: Vec<(&'static str, Fault)>,
    /// Events older than this have expired.
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
        let receiver = WebhookReceiver::answering(move |request| respond(&mut shared.lock().unwrap(), request));
        Self { receiver, state }
    }

    /// Returns the `s3` option for requests, with valid keys in plain text.
    pub fn access(&self) -> Value {
        json!({ "endpoint": self.url(), "region": REGION, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY })
    }

    pub fn url(&self) -> String {
        self.receiver.url("")
    }

    /// Makes the next requests of this action fail, one for each fault.
    pub fn fail(&self, action: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults.into_iter().map(|fault| (action, fault)));
    }

    /// Sets how many days groups keep events.
    pub fn retain(&self, days: i64) {
        self.state.lock().unwrap().retention_ms = Some(days * DAY_MS);
    }

    /// Returns the names of the streams of a group.
    pub fn streams(&self, group: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.groups.get(group).map(|streams| streams.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns the times and texts of the events of a stream.
    pub fn events(&self, group: &str, stream: &str) -> Vec<(i64, String)> {
        self.state.lock().unwrap().groups[group][stream].clone()
    }

    /// Counts the requests of an action so far.
    pub fn asked(&self, action: &str) -> usize {
        self.receiver.received().iter().filter(|request| action_of(request) == action).count()
    }
}

fn action_of(request: &Received) -> &str {
    request.headers.get("x-amz-target").and_then(|target| target.strip_prefix("Logs_20140328.")).unwrap_or_default()
}

fn error(name: &str, message: &str) -> WebhookReply {
    WebhookReply::new(400, json!({ "__type": name, "message": message }).to_string())
}

fn respond(state: &mut State, request: &Received) -> WebhookReply {
    let action = action_of(request);
    if let Some(at) = state.faults.iter().position(|(of, _)| *of == action) {
        return match state.faults.remove(at).1 {
            Fault::Error => WebhookReply::new(500, "{}"),
            Fault::Throttled => error("ThrottlingException", "Rate exceeded"),
            Fault::Denied => error("AccessDeniedException", "User is not authorized"),
        };
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let signed = SignedRequest {
        method: &request.method,
        path,
        query,
        headers: &request.headers,
        body: request.body.as_bytes(),
    };
    if let Err(why) = verify(&signed, "logs") {
        let name =
            if why == "InvalidAccessKeyId" { "UnrecognizedClientException" } else { "InvalidSignatureException" };
        return error(name, why);
    }
    let body = request.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let (group, stream) = (text("logGroupName"), text("logStreamName"));
    let missing = || error("ResourceNotFoundException", "The specified log group or stream does not exist.");
    match action {
        "CreateLogGroup" if state.groups.contains_key(&group) => error("ResourceAlreadyExistsException", "there"),
        "CreateLogGroup" => {
            state.groups.insert(group, BTreeMap::new());
            WebhookReply::new(200, "")
        }
        "CreateLogStream" => match state.groups.get_mut(&group) {
            None => missing(),
            Some(streams) if streams.contains_key(&stream) => error("ResourceAlreadyExistsException", "there"),
            Some(streams) => {
                streams.insert(stream, Vec::new());
                WebhookReply::new(200, "")
            }
        },
        "DeleteLogStream" => match state.groups.get_mut(&group).and_then(|streams| streams.remove(&stream)) {
            None => missing(),
            Some(_) => WebhookReply::new(200, ""),
        },
        "PutLogEvents" => {
            let retention_ms = state.retention_ms;
            match state.groups.get_mut(&group).and_then(|streams| streams.get_mut(&stream)) {
                None => missing(),
                Some(events) => put(events, &body["logEvents"], retention_ms),
            }
        }
        _ => error("UnknownOperationException", action),
    }
}

fn put(events: &mut Vec<(i64, String)>, batch: &Value, retention_ms: Option<i64>) -> WebhookReply {
    let batch: Vec<(i64, String)> = batch
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["timestamp"].as_i64().unwrap(), event["message"].as_str().unwrap().to_owned()))
        .collect();
    let invalid = |why: &str| error("InvalidParameterException", why);
    let bytes: usize = batch.iter().map(|(_, text)| text.len() + EVENT_OVERHEAD_BYTES).sum();
    if batch.is_empty() || batch.len() > MAX_EVENTS || bytes > MAX_BATCH_BYTES {
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
    let (too_old, expired) = (below(MAX_AGE_MS), retention_ms.map_or(0, below));
    let too_new = batch.iter().take_while(|(at, _)| *at <= now_ms + MAX_FUTURE_MS).count();
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
    let mut reply = json!({ "nextSequenceToken": "49590302938403" });
    if rejected != json!({}) {
        reply["rejectedLogEventsInfo"] = rejected;
    }
    WebhookReply::new(200, reply.to_string())
}
