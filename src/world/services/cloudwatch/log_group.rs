//! A log group: creates streams and sends events, signed with the same credentials as S3. Knows no container.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequestBody};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::BufReader;

use super::log_batches::{Event, LogBatches};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::aws::account::AwsAccount;
use crate::world::services::aws::s3_client::{INSTANCE_METADATA, build_s3_client, no_credentials, short};
use crate::world::services::error_text::root_cause;
use crate::world::services::file_error::file_error;

/// The service's name in signatures.
const SERVICE: &str = "logs";
/// Prefix of the operation's name in requests.
const TARGET: &str = "Logs_20140328";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Most attempts of one request, and the pauses between them.
const MAX_ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Most bytes of a response that are read.
const RESPONSE_LIMIT: usize = 1 << 20;
/// Most attempts to create a stream or its group.
const CREATE_ATTEMPTS: u32 = 5;

/// The log streams of one group.
pub(crate) struct LogGroup {
    group: String,
    endpoint: String,
    region: String,
    credentials: AwsCredentialProvider,
    client: HttpClient,
    clock: Arc<dyn Clock>,
}

/// The error of a request.
#[derive(Debug)]
enum RequestError {
    /// An error of the service by its name, such as `ResourceNotFoundException`.
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
    /// The service itself no longer needs it, but compatible services do.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_token: Option<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PutResponse {
    next_sequence_token: Option<String>,
    rejected_log_events_info: Option<RejectedEvents>,
}

/// Which events of a batch the service rejected.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RejectedEvents {
    too_new_log_event_start_index: Option<usize>,
    too_old_log_event_end_index: Option<usize>,
    expired_log_event_end_index: Option<usize>,
}

impl RejectedEvents {
    fn contains(&self, index: usize) -> bool {
        let below = |end: Option<usize>| end.is_some_and(|end| index < end);
        below(self.too_old_log_event_end_index)
            || below(self.expired_log_event_end_index)
            || self.too_new_log_event_start_index.is_some_and(|start| index >= start)
    }
}

impl LogGroup {
    /// Resolves endpoint and credentials of a log group. Sends nothing yet.
    pub(crate) fn open(
        group: &str,
        account: AwsAccount,
        client: &reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EffectError> {
        let subject = format!("log group `{group}`");
        let Some(region) = account.region.clone() else {
            return Err(EffectError::new(ErrorKind::Invalid, format!("the region of {subject} is not set"))
                .hint("set `s3: #{region: \"eu-central-1\"}`, or set `AWS_REGION`")
                .not_applied());
        };
        let endpoint = account.endpoint.clone().unwrap_or_else(|| {
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{SERVICE}.{region}.amazonaws.com{suffix}")
        });
        // The library finds credentials only for a bucket. No request is ever sent to this one.
        let credentials = build_s3_client(SERVICE, &subject, account, client)?.credentials().clone();
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let client = HttpClient::new(client.clone());
        Ok(Self { group: group.to_owned(), endpoint, region, credentials, client, clock })
    }

    /// Creates the stream, and its group if needed. With `replace`, deletes an existing stream and its events first.
    pub(crate) async fn create_stream(&self, stream: &str, replace: bool) -> Result<(), EffectError> {
        let names = json!({ "logGroupName": self.group, "logStreamName": stream });
        let mut replace = replace;
        for _ in 0..CREATE_ATTEMPTS {
            match self.request("CreateLogStream", &names).await {
                Ok(_) => return Ok(()),
                Err(RequestError::Named { name, .. }) if name == "ResourceAlreadyExistsException" && !replace => {
                    return Ok(());
                }
                Err(RequestError::Named { name, .. }) if name == "ResourceAlreadyExistsException" => {
                    match self.request("DeleteLogStream", &names).await {
                        Err(RequestError::Named { name, .. }) if name == "ResourceNotFoundException" => {}
                        other => drop(other.map_err(|error| self.effect_error(error))?),
                    }
                    replace = false;
                }
                Err(RequestError::Named { name, .. }) if name == "ResourceNotFoundException" => {
                    match self.request("CreateLogGroup", &json!({ "logGroupName": self.group })).await {
                        // Another client created it at the same time.
                        Err(RequestError::Named { name, .. }) if name == "ResourceAlreadyExistsException" => {}
                        other => drop(other.map_err(|error| self.effect_error(error))?),
                    }
                }
                Err(error) => return Err(self.effect_error(error)),
            }
        }
        let message =
            format!("log stream `{stream}` of group `{}` keeps changing while it is being created", self.group);
        Err(EffectError::new(ErrorKind::Conflict, message))
    }

    /// Sends a log, line by line. Returns the number of events.
    pub(crate) async fn send(&self, call: &Call, stream: &str, log: &Path) -> Result<u64, EffectError> {
        let unreadable = |error: std::io::Error| file_error("read", log, &error);
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
            call.report_progress(format!("{sent} lines sent"));
        }
    }

    /// Sends one text as one event.
    pub(crate) async fn send_text(&self, stream: &str, message: String) -> Result<(), EffectError> {
        let event = Event { timestamp: self.clock.unix_ms(), message, time: None };
        self.put(stream, vec![event], &mut None).await
    }

    /// Sends a batch. Events that the group rejects for their age are sent again with the current time.
    async fn put(&self, stream: &str, batch: Vec<Event>, token: &mut Option<String>) -> Result<(), EffectError> {
        let Some(rejected) = self.put_once(stream, &batch, token).await? else { return Ok(()) };
        let now_ms = self.clock.unix_ms();
        let retry: Vec<Event> = (0..)
            .zip(batch)
            .filter(|(index, _)| rejected.contains(*index))
            .map(|(_, event)| event.with_timestamp(now_ms))
            .collect();
        match self.put_once(stream, &retry, token).await? {
            None => Ok(()),
            Some(_) => {
                let message = format!("log group `{}` rejects {} lines because of their time", self.group, retry.len());
                Err(EffectError::new(ErrorKind::Refused, message).hint("check the machine's clock: date --utc"))
            }
        }
    }

    async fn put_once(
        &self,
        stream: &str,
        batch: &[Event],
        token: &mut Option<String>,
    ) -> Result<Option<RejectedEvents>, EffectError> {
        if batch.is_empty() {
            return Ok(None);
        }
        for is_last in [false, true] {
            let request = PutEvents {
                log_group_name: &self.group,
                log_stream_name: stream,
                log_events: batch,
                sequence_token: token.as_deref(),
            };
            match self.request("PutLogEvents", &request).await {
                Ok(value) => {
                    let response: PutResponse = serde_json::from_value(value).unwrap_or_default();
                    *token = response.next_sequence_token;
                    return Ok(response.rejected_log_events_info);
                }
                Err(RequestError::Named { name, body }) if !is_last && name == "InvalidSequenceTokenException" => {
                    *token = body["expectedSequenceToken"].as_str().map(str::to_owned);
                }
                // An earlier attempt succeeded, but its response was lost.
                Err(RequestError::Named { name, body }) if name == "DataAlreadyAcceptedException" => {
                    *token = body["expectedSequenceToken"].as_str().map(str::to_owned);
                    return Ok(None);
                }
                Err(error) => return Err(self.effect_error(error)),
            }
        }
        Ok(None)
    }

    /// Sends a request, again after transient errors.
    async fn request(&self, action: &str, body: &impl Serialize) -> Result<Value, RequestError> {
        let internal = |why: String| RequestError::Other(EffectError::new(ErrorKind::Internal, why).not_applied());
        let body = serde_json::to_vec(body).map_err(|error| internal(error.to_string()))?;
        let body = bytes::Bytes::from(body);
        let mut pause = FIRST_PAUSE;
        let mut attempts = 1;
        loop {
            let response = self.request_once(action, body.clone()).await;
            let is_transient = match &response {
                Err(RequestError::Other(error)) => error.kind == ErrorKind::Unavailable,
                Err(RequestError::Named { name, .. }) => {
                    ["ThrottlingException", "OperationAbortedException"].contains(&name.as_str())
                        || name.ends_with("UnavailableException")
                }
                Ok(_) => false,
            };
            if !is_transient || attempts == MAX_ATTEMPTS {
                return response;
            }
            self.clock.sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            attempts += 1;
        }
    }

    async fn request_once(&self, action: &str, body: bytes::Bytes) -> Result<Value, RequestError> {
        let other = |kind, why: String| RequestError::Other(EffectError::new(kind, why));
        let credential = self.credentials.get_credential().await.map_err(|error| {
            let text = error.to_string();
            match text.contains(INSTANCE_METADATA) {
                true => RequestError::Other(no_credentials(&format!("log group `{}`", self.group))),
                false => {
                    other(ErrorKind::Refused, format!("cannot get credentials for the log group: {}", short(&text)))
                }
            }
        })?;
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("{}/", self.endpoint))
            .header("content-type", CONTENT_TYPE)
            .header("x-amz-target", format!("{TARGET}.{action}"))
            .body(HttpRequestBody::from(body));
        let mut request = request.map_err(|error| other(ErrorKind::Invalid, error.to_string()))?;
        AwsAuthorizer::new(&credential, SERVICE, &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| other(ErrorKind::Internal, error.to_string()))?;
        let unreachable =
            |why: String| other(ErrorKind::Unavailable, format!("request to `{}` failed: {why}", self.endpoint));
        let response = self.client.execute(request).await.map_err(|error| unreachable(short(&root_cause(&error))))?;
        let (head, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, RESPONSE_LIMIT).collect().await;
        let body = body.map_err(|error| unreachable(short(&error.to_string())))?.to_bytes();
        if head.status.is_success() {
            return Ok(serde_json::from_slice(&body).unwrap_or_default());
        }
        let error: Value = serde_json::from_slice(&body).unwrap_or_default();
        // Some servers write `com.amazonaws.logs#Name`, or `Name:http://...`.
        let name = error["__type"].as_str().map(|name| name.rsplit('#').next().unwrap_or(name));
        let name = name.map(|name| name.split(':').next().unwrap_or(name).to_owned());
        match name {
            _ if head.status.is_server_error() => Err(unreachable(format!("status {}", head.status.as_u16()))),
            Some(name) => Err(RequestError::Named { name, body: error }),
            None => {
                let text = short(&String::from_utf8_lossy(&body));
                Err(other(ErrorKind::Failed, format!("`{}` answered {}: {text}", self.endpoint, head.status.as_u16())))
            }
        }
    }

    /// Turns the error of a request into that of the effect.
    fn effect_error(&self, error: RequestError) -> EffectError {
        let (name, body) = match error {
            RequestError::Other(error) => return error,
            RequestError::Named { name, body } => (name, body),
        };
        let message = ["message", "Message"].iter().find_map(|key| body[*key].as_str()).map(short);
        let group = &self.group;
        let detail = message.as_ref().map_or_else(|| name.clone(), |message| format!("{name}: {message}"));
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
                EffectError::new(ErrorKind::Refused, format!("CloudWatch Logs refuses the credentials for log group `{group}`"))
                    .hint("the keys need logs:CreateLogGroup, CreateLogStream, DeleteLogStream and PutLogEvents; also check the machine's clock")
                    .detail(detail)
            }
            "ResourceNotFoundException" => {
                EffectError::new(ErrorKind::NotFound, format!("log group `{group}` or its stream does not exist")).detail(detail)
            }
            "InvalidParameterException" => {
                EffectError::new(ErrorKind::Invalid, format!("log group `{group}` cannot be used: {detail}"))
            }
            _ => EffectError::new(ErrorKind::Unavailable, format!("log group `{group}` failed: {detail}")),
        }
    }
}
