//! The proxy's own answers: short, and told apart from those of a target by `proxy-status` (RFC 9209).

use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::answer_body::AnswerBody;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// Seconds.
const RETRY: HeaderValue = HeaderValue::from_static("1");

/// Why there is no answer of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    BadRequest,
    NoRoute,
    Connect,
    TooLarge,
    Connecting,
    Broken,
    Timeout,
    NoTarget,
    Held,
    SlowVisitor,
}

impl Own {
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Connecting | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::NoTarget | Self::Held => StatusCode::SERVICE_UNAVAILABLE,
            Self::SlowVisitor => StatusCode::REQUEST_TIMEOUT,
        }
    }

    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("http_request_error", "deployer proxy: this is no request that can be passed on\n"),
            Self::NoRoute => ("destination_not_found", "deployer proxy: no route for this host and path\n"),
            Self::Connect => ("http_request_denied", "deployer proxy: CONNECT is not served\n"),
            Self::TooLarge => ("http_request_denied", "deployer proxy: the body is larger than is allowed\n"),
            Self::Connecting => ("connection_refused", "deployer proxy: no target can be reached\n"),
            Self::Broken => ("connection_terminated", "deployer proxy: the target broke off\n"),
            Self::Timeout => ("http_response_timeout", "deployer proxy: the target did not answer in time\n"),
            Self::NoTarget => ("destination_unavailable", "deployer proxy: the service has no target\n"),
            Self::Held => ("destination_unavailable", "deployer proxy: the service is being replaced, ask again\n"),
            Self::SlowVisitor => ("http_request_error", "deployer proxy: the body did not come in time\n"),
        }
    }

    pub fn response(self) -> Response<AnswerBody> {
        let (error, text) = self.text();
        let mut response = Response::new(AnswerBody::own(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Ok(value) = HeaderValue::from_str(&format!("deployer; error={error}")) {
            headers.insert(PROXY_STATUS, value);
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY);
        }
        response
    }
}
