//! HTTP requests.

use super::{BOOL, DURATION, FLOAT, IDEMPOTENT, INT, LIST, MAP, SECRET, STRING, TIMEOUT};
use crate::effect::ErrorKind::{Failed, MissingSecret, Refused};
use crate::effect::http::{HttpGet, HttpPost};
use crate::effect::load::LoadTest;
use crate::script::primitive::Primitive;

const REPLY: &str =
    "status, headers, body (at most 1 MiB), truncated, json (the parsed body, if it is JSON), elapsed_ms";

fn request(primitive: Primitive) -> Primitive {
    primitive
        .positional(&["url"])
        .required("url", SECRET, "URL to request")
        .optional("headers", MAP, "#{}", "request headers; can be secrets")
        .optional("timeout", DURATION, "\"30s\"", TIMEOUT)
        .optional("check", BOOL, "true", "fail on a status of 400 or above")
        .returns(REPLY)
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        request(Primitive::of::<HttpGet>("Sends a GET request."))
            .errors(&[Refused, Failed, MissingSecret])
            .example("http_get(\"http://localhost:9/\", #{check: false, timeout: \"5s\"})"),
        request(Primitive::of::<HttpPost>("Sends a POST request with a text or JSON body."))
            .optional("body", SECRET, "none", "body as text")
            .optional("json", MAP, "none", "body as a value, sent as application/json")
            .optional("idempotent", BOOL, "false", IDEMPOTENT)
            .undo("none: the request was received")
            .errors(&[Refused, Failed, MissingSecret])
            .example("http_post(\"http://localhost:9/hook\", #{json: #{text: \"hello\"}, check: false})"),
        load(),
    ]
}

const REPORT: &str = "planned, sent, answered, failed, error_rate (0 to 1), errors (connect, timeout, broken, unsent), \
    unexpected, statuses (by class: `2xx`), latency (p50_ms, p90_ms, p99_ms, max_ms), rate (answers per second), \
    elapsed_ms, late (requests sent late because every connection was busy), lag_p99_ms, fell_behind (this machine \
    could not keep up)";

fn load() -> Primitive {
    Primitive::of::<LoadTest>(
        "Sends requests at a constant rate, even if the answers do not keep up. Latency is measured from the time a \
         request was scheduled, so a stalled server is charged for every request it delays. Failed requests are \
         reported in the result and are not an error.",
    )
    .positional(&["url"])
    .required("url", SECRET, "URL to request; redirects are not followed")
    .optional("method", STRING, "\"GET\"", "request method; GET, HEAD and OPTIONS only read")
    .optional("headers", MAP, "#{}", "request headers; can be secrets")
    .optional("body", SECRET, "none", "body as text")
    .optional("rate", FLOAT, "10", "requests per second, at most 10000")
    .optional("duration", DURATION, "\"10s\"", "length of the test, at most 1 h")
    .optional("connections", INT, "32", "concurrent requests, at most 1000")
    .optional("keep_alive", BOOL, "true", "reuse connections")
    .optional("timeout", DURATION, "\"10s\"", "time limit of one request, at most 5 m")
    .optional("status", LIST, "below 400", "expected status codes")
    .returns(REPORT)
    .undo("none: the requests were received")
    .errors(&[Refused, Failed, MissingSecret])
    .example("let load = load_test(\"http://localhost:9/\", #{rate: 50, duration: \"1s\"});")
}
