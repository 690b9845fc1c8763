//! Creates clients of the `object_store` crate: endpoint, credentials, retries. It is the one place that knows where
//! roles get their credentials.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::{BackoffConfig, RetryConfig};

use super::account::AwsAccount;
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::error_text::truncate;

/// Most retries of one request, and how long they may take together.
const RETRIES: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The address where an EC2 instance asks for the credentials of its role.
pub(crate) const INSTANCE_METADATA: &str = "169.254.169.254";
/// Characters of a service's error that a message shows.
const EXCERPT_LIMIT: usize = 300;

/// Makes `object_store` use deployer's own HTTP client.
#[derive(Debug)]
struct SharedHttpClient(reqwest::Client);

impl HttpConnector for SharedHttpClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// Creates a client for a bucket. `subject` names what it is for in messages.
pub(crate) fn build_s3_client(
    bucket: &str,
    subject: &str,
    account: AwsAccount,
    client: &reqwest::Client,
) -> Result<AmazonS3, EffectError> {
    let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        // Not every S3-compatible storage supports the request that deletes several objects.
        .with_disable_bulk_delete(true)
        .with_http_connector(SharedHttpClient(client.clone()))
        .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT });
    let has_endpoint = account.endpoint.is_some();
    if let Some(endpoint) = account.endpoint {
        let is_url = reqwest::Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_url {
            let message = format!("endpoint `{endpoint}` is not a URL that starts with `http://` or `https://`");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        builder = builder.with_endpoint(endpoint).with_allow_http(true);
    }
    if let Some(region) = account.region {
        builder = builder.with_region(region);
    }
    match account.keys {
        Some(keys) => {
            builder = builder.with_access_key_id(keys.access).with_secret_access_key(keys.secret);
            if let Some(token) = keys.token {
                builder = builder.with_token(token);
            }
        }
        // Other endpoints than AWS know no instance role.
        None if has_endpoint && account.role.is_empty() => return Err(no_credentials(subject)),
        None => {
            for (name, value) in account.role {
                if let Ok(key) = name.to_ascii_lowercase().parse() {
                    builder = builder.with_config(key, value);
                }
            }
        }
    }
    builder.build().map_err(|error| {
        EffectError::new(ErrorKind::Invalid, format!("invalid configuration of {subject}: {error}")).not_applied()
    })
}

/// The error when neither the request nor the machine has credentials.
pub(crate) fn no_credentials(subject: &str) -> EffectError {
    EffectError::new(ErrorKind::Refused, format!("no credentials for {subject}"))
        .hint("set `s3: #{access_key: secret(\"...\"), secret_key: secret(\"...\")}`, or set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`")
        .not_applied()
}

/// Shortens an error of the service for a message.
pub(crate) fn short(text: &str) -> String {
    truncate(text, EXCERPT_LIMIT)
}
