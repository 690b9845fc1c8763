//! Logs in CloudWatch Logs: groups, streams, events; signed with the same credentials as S3. Knows no container.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequestBody};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::BufReader;

use super::account::Account;
use super::draft::file_wrong;
use super::log_batch::{Event, LogBatches};
use super::s3::{MACHINE_ROLE, connect, nobody, short};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// The service's name in signatures.
const SERVICE: &str = "logs";
const TARGET: &str = "Logs_20140328";
const CONTENT: &str = "application/x-amz-json-1.1";
/// Tries of one request, and the pauses between them.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are looked at.
const ANSWER: usize = 1 << 20;
/// Tries to make a stream in the place of one that is being deleted.
const MAKES: u32 = 5;

/// The log streams of one group.
pub(in super::super) struct LogGroup {
    group: String,
    endpoint: String,
    region: String,
    credentials: AwsCredentialProvider,
    client: HttpClient,
    clock: Arc<dyn Clock>,
}

/// What the service says when it refuses.
#[derive(Debug)]
enum Refusal {
    /// By its own name, such as `ResourceNotFoundException`.
    Named {
        name: String,
        body: Value,
    },
    Other(EffectError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PutEvents<'a> {
    log_group_name: &'a str,
    log_stream_name: &'a str,
    log_events: &'a [Event],
    /// Not asked for any more by the service itself, but by what imitates it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_token: Option<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PutAnswer {
    next_sequence_token: Option<String>,
    rejected_log_events_info: Option<Rejected>,
}

/// Which events of a batch were not taken.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rejected {
    too_new_log_event_start_index: Option<usize>,
    too_old_log_event_end_index: Option<usize>,
    expired_log_event_end_index: Option<usize>,
}

impl Rejected {
    fn has(&self, index: usize) -> bool {
        let below = |end: Option<usize>| end.is_some_and(|end| index < end);
        below(self.too_old_log_event_end_index)
            || below(self.expired_log_event_end_index)
            || self.too_new_log_event_start_index.is_some_and(|start| index >= start)
    }
}

impl LogGroup {
    pub(super) fn open(
        group: &str,
        account: Account,
        client: &reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EffectError> {
        let whom = format!("log group `{group}`");
        let Some(region) = account.region.clone() else {
            return Err(EffectError::new(ErrorKind::Invalid, format!("nothing says in which region {whom} is"))
                .hint("give `s3: #{region: \"eu-central-1\"}`, or set `AWS_REGION`")
                .not_applied());
        };
        let endpoint = account.endpoint.clone().unwrap_or_else(|| {
            let end = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{SERVICE}.{region}.amazonaws.com{end}")
        });
        // The library that signs finds credentials for storage alone: no such storage is ever asked.
        let credentials = connect(SERVICE, &whom, account, client)?.credentials().clone();
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let client = HttpClient::new(client.clone());
        Ok(Self { group: group.to_owned(), endpoint, region, credentials, client, clock })
    }

    /// Sees to it that the stream is there, and its group. `anew`: without the events that it has.
    pub(in super::super) async fn make_stream(&self, stream: &str, anew: bool) -> Result<(), EffectError> {
        let names = json!({ "logGroupName": self.group, "logStreamName": stream });
        let mut anew = anew;
        for _ in 0..MAKES {
            match self.ask("CreateLogStream", &names).await {
                Ok(_) => return Ok(()),
                Err(Refusal::Named { name, .. }) if name == "ResourceAlreadyExistsException" && !anew => return Ok(()),
                Err(Refusal::Named { name, .. }) if name == "ResourceAlreadyExistsException" => {
                    match self.ask("DeleteLogStream", &names).await {
                        Err(Refusal::Named { name, .. }) if name == "ResourceNotFoundException" => {}
                        other => drop(other.map_err(|refusal| self.wrong(refusal))?),
                    }
                    anew = false;
                }
                Err(Refusal::Named { name, .. }) if name == "ResourceNotFoundException" => {
                    match self.ask("CreateLogGroup", &json!({ "logGroupName": self.group })).await {
                        // Somebody else was faster.
                        Err(Refusal::Named { name, .. }) if name == "ResourceAlreadyExistsException" => {}
                        other => drop(other.map_err(|refusal| self.wrong(refusal))?),
                    }
                }
                Err(refusal) => return Err(self.wrong(refusal)),
            }
        }
        let message = format!("log stream `{stream}` of group `{}` comes and goes while it is made", self.group);
        Err(EffectError::new(ErrorKind::Conflict, message))
    }

    /// Sends a log, line by line; returns how many events that were.
    pub(in super::super) async fn send(&self, call: &Call, stream: &str, log: &Path) -> Result<u64, EffectError> {
        let unreadable = |error: std::io::Error| file_wrong("read", log, &error);
        let file = tokio::fs::File::open(log).await.map_err(unreadable)?;
        let mut batches = LogBatches::new(BufReader::new(file), self.clock.unix_ms());
        let (mut sent, mut token) = (0, None);
        loop {
            let batch = batches.next().await.map_err(unreadable)?;
            if batch.is_empty() {
                return Ok(sent);
            }
            sent += batch.len() as u64;
            self.put(stream, batch, &mut token).await?;
            call.tell(format!("{sent} lines sent"));
        }
    }

    /// Sends one text as one event.
    pub(in super::super) async fn send_text(&self, stream: &str, message: String) -> Result<(), EffectError> {
        let event = Event { timestamp: self.clock.unix_ms(), message, time: None };
        self.put(stream, vec![event], &mut None).await
    }

    /// Sends a batch. What the group takes no more, by its retention, is sent as of now.
    async fn put(&self, stream: &str, batch: Vec<Event>, token: &mut Option<String>) -> Result<(), EffectError> {
        let Some(rejected) = self.put_once(stream, &batch, token).await? else { return Ok(()) };
        let now_ms = self.clock.unix_ms();
        let again: Vec<Event> =
            (0..).zip(batch).filter(|(index, _)| rejected.has(*index)).map(|(_, event)| event.moved(now_ms)).collect();
        match self.put_once(stream, &again, token).await? {
            None => Ok(()),
            Some(_) => {
                let message = format!("log group `{}` refuses {} lines for their time", self.group, again.len());
                Err(EffectError::new(ErrorKind::Refused, message).hint("check the machine's clock: date --utc"))
            }
        }
    }

    async fn put_once(
        &self,
        stream: &str,
        batch: &[Event],
        token: &mut Option<String>,
    ) -> Result<Option<Rejected>, EffectError> {
        if batch.is_empty() {
            return Ok(None);
        }
        for is_last in [false, true] {
            let asked = PutEvents {
                log_group_name: &self.group,
                log_stream_name: stream,
                log_events: batch,
                sequence_token: token.as_deref(),
            };
            match self.ask("PutLogEvents", &asked).await {
                Ok(answer) => {
                    let answer: PutAnswer = serde_json::from_value(answer).unwrap_or_default();
                    *token = answer.next_sequence_token;
                    return Ok(answer.rejected_log_events_info);
                }
                Err(Refusal::Named { name, body }) if !is_last && name == "InvalidSequenceTokenException" => {
                    *token = body["expectedSequenceToken"].as_str().map(str::to_owned);
                }
                // An answer that got lost.
                Err(Refusal::Named { name, body }) if name == "DataAlreadyAcceptedException" => {
                    *token = body["expectedSequenceToken"].as_str().map(str::to_owned);
                    return Ok(None);
                }
                Err(refusal) => return Err(self.wrong(refusal)),
            }
        }
        Ok(None)
    }

    /// One request, tried again after faults that pass.
    async fn ask(&self, action: &str, body: &impl Serialize) -> Result<Value, Refusal> {
        let internal = |why: String| Refusal::Other(EffectError::new(ErrorKind::Internal, why).not_applied());
        let body = serde_json::to_vec(body).map_err(|error| internal(error.to_string()))?;
        let body = bytes::Bytes::from(body);
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let answer = self.ask_once(action, body.clone()).await;
            let passes = match &answer {
                Err(Refusal::Other(error)) => error.kind == ErrorKind::Unavailable,
                Err(Refusal::Named { name, .. }) => {
                    ["ThrottlingException", "OperationAbortedException"].contains(&name.as_str())
                        || name.ends_with("UnavailableException")
                }
                Ok(_) => false,
            };
            if !passes || tries == TRIES {
                return answer;
            }
            self.clock.sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            tries += 1;
        }
    }

    async fn ask_once(&self, action: &str, body: bytes::Bytes) -> Result<Value, Refusal> {
        let other = |kind, why: String| Refusal::Other(EffectError::new(kind, why));
        let credential = self.credentials.get_credential().await.map_err(|error| {
            let text = error.to_string();
            match text.contains(MACHINE_ROLE) {
                true => Refusal::Other(nobody(&format!("log group `{}`", self.group))),
                false => other(ErrorKind::Refused, format!("there are no credentials for the log: {}", short(&text))),
            }
        })?;
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("{}/", self.endpoint))
            .header("content-type", CONTENT)
            .header("x-amz-target", format!("{TARGET}.{action}"))
            .body(HttpRequestBody::from(body));
        let mut request = request.map_err(|error| other(ErrorKind::Invalid, error.to_string()))?;
        AwsAuthorizer::new(&credential, SERVICE, &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| other(ErrorKind::Internal, error.to_string()))?;
        let unreachable =
            |why: String| other(ErrorKind::Unavailable, format!("`{}` did not serve: {why}", self.endpoint));
        let answer = self.client.execute(request).await.map_err(|error| unreachable(why_of(&error)))?;
        let (head, body) = answer.into_parts();
        let body = http_body_util::Limited::new(body, ANSWER).collect().await;
        let body = body.map_err(|error| unreachable(short(&error.to_string())))?.to_bytes();
        if head.status.is_success() {
            return Ok(serde_json::from_slice(&body).unwrap_or_default());
        }
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        // Some write `com.amazonaws.logs#Name`, or `Name:http://...`.
        let name = told["__type"].as_str().map(|name| name.rsplit('#').next().unwrap_or(name));
        let name = name.map(|name| name.split(':').next().unwrap_or(name).to_owned());
        match name {
            _ if head.status.is_server_error() => Err(unreachable(format!("status {}", head.status.as_u16()))),
            Some(name) => Err(Refusal::Named { name, body: told }),
            None => {
                let text = short(&String::from_utf8_lossy(&body));
                Err(other(ErrorKind::Failed, format!("`{}` answered {}: {text}", self.endpoint, head.status.as_u16())))
            }
        }
    }

    /// What a refusal means for people.
    fn wrong(&self, refusal: Refusal) -> EffectError {
        let (name, body) = match refusal {
            Refusal::Other(error) => return error,
            Refusal::Named { name, body } => (name, body),
        };
        let told = ["message", "Message"].iter().find_map(|key| body[*key].as_str()).map(short);
        let group = &self.group;
        let says = told.as_ref().map_or_else(|| name.clone(), |told| format!("{name}: {told}"));
        match name.as_str() {
            "AccessDeniedException"
            | "ExpiredTokenException"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "NotAuthorized"
            | "OptInRequired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => {
                EffectError::new(ErrorKind::Refused, format!("the service refuses the credentials for log group `{group}`"))
                    .hint("the keys need logs:CreateLogGroup, CreateLogStream, DeleteLogStream and PutLogEvents; check the machine's clock, too")
                    .detail(says)
            }
            "ResourceNotFoundException" => {
                EffectError::new(ErrorKind::NotFound, format!("log group `{group}` or its stream is gone")).detail(says)
            }
            "InvalidParameterException" => {
                EffectError::new(ErrorKind::Invalid, format!("log group `{group}` cannot be used: {says}"))
            }
            _ => EffectError::new(ErrorKind::Unavailable, format!("log group `{group}` was not served: {says}")),
        }
    }
}

fn why_of(error: &(dyn std::error::Error + 'static)) -> String {
    short(&super::super::reason::reason(error))
}
