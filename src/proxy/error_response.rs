//! Responses that the proxy generates itself: short, and marked by the `proxy-status` header (RFC 9209), so that they
//! cannot be confused with those of a target.

use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::response_body::ResponseBody;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// In seconds.
const RETRY_DELAY: HeaderValue = HeaderValue::from_static("1");

/// Why the proxy answers instead of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorResponse {
    /// The request cannot be forwarded.
    BadRequest,
    /// Targets read this path in different ways, and the routes depend on paths.
    AmbiguousPath,
    /// No route matches the address, host and path.
    NoRoute,
    /// The CONNECT method is not supported.
    ConnectMethod,
    /// The request body exceeds the limit.
    TooLarge,
    /// No target accepted a connection.
    Unreachable,
    /// The target closed the connection before it answered.
    TargetClosed,
    /// The target's answer is not HTTP, or exceeds a limit.
    InvalidAnswer,
    /// This process has no file descriptor or port left.
    Overloaded,
    /// The target did not answer in time.
    TargetTimeout,
    /// The service has no target.
    NoTarget,
    /// Requests are held, and this one cannot wait or waited too long.
    Held,
    /// The client sent its body too slowly.
    ClientTimeout,
}

impl ErrorResponse {
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::AmbiguousPath => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::ConnectMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreachable | Self::TargetClosed | Self::InvalidAnswer => StatusCode::BAD_GATEWAY,
            Self::TargetTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::NoTarget | Self::Held | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// Returns the error type of RFC 9209, and the body.
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("http_request_error", "deployer proxy: this request cannot be forwarded\n"),
            Self::AmbiguousPath => ("http_request_error", "deployer proxy: the path of this request is ambiguous\n"),
            Self::NoRoute => ("destination_not_found", "deployer proxy: no route for this host and path\n"),
            Self::ConnectMethod => ("http_request_denied", "deployer proxy: CONNECT is not supported\n"),
            Self::TooLarge => ("http_request_denied", "deployer proxy: the request body is too large\n"),
            Self::Unreachable => ("connection_refused", "deployer proxy: no target can be reached\n"),
            Self::TargetClosed => ("connection_terminated", "deployer proxy: the target closed the connection\n"),
            Self::TargetTimeout => ("http_response_timeout", "deployer proxy: the target did not answer in time\n"),
            Self::InvalidAnswer => ("http_protocol_error", "deployer proxy: the target's answer cannot be read\n"),
            Self::Overloaded => ("proxy_internal_error", "deployer proxy: too many connections, try again\n"),
            Self::NoTarget => ("destination_unavailable", "deployer proxy: the service has no target\n"),
            Self::Held => ("destination_unavailable", "deployer proxy: the service is being replaced, try again\n"),
            Self::ClientTimeout => ("http_request_error", "deployer proxy: the request body did not arrive in time\n"),
        }
    }

    /// Builds the response.
    pub fn response(self) -> Response<ResponseBody> {
        let (error, text) = self.text();
        let mut response = Response::new(ResponseBody::from_text(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Ok(value) = HeaderValue::from_str(&format!("deployer; error={error}")) {
            headers.insert(PROXY_STATUS, value);
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_DELAY);
        }
        response
    }
}
