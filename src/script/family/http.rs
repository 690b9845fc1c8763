//! HTTP requests.

use super::{BOOL, DURATION, FLOAT, IDEMPOTENT, INT, LIST, MAP, NO_TIMEOUT_HARM, SECRET, STRING};
use crate::effect::ErrorKind::{Failed, MissingSecret, Refused};
use crate::effect::http::{HttpGet, HttpPost};
use crate::effect::load::LoadTest;
use crate::script::primitive::Primitive;

const REPLY: &str = "status, headers, body (cut at 1 MiB: truncated), json (when it is JSON), elapsed_ms";

fn request(primitive: Primitive) -> Primitive {
    primitive
        .positional(&["url"])
        .required("url", SECRET, "the address")
        .optional("headers", MAP, "#{}", "headers; may be secrets")
        .optional("timeout", DURATION, "\"30s\"", NO_TIMEOUT_HARM)
        .optional("check", BOOL, "true", "fails on a status of 400 and above")
        .returns(REPLY)
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        request(Primitive::of::<HttpGet>("Sends a GET request."))
            .errors(&[Refused, Failed, MissingSecret])
            .example("http_get(\"http://localhost:9/\", #{check: false, timeout: \"5s\"})"),
        request(Primitive::of::<HttpPost>("Sends a POST request with a text or a JSON body."))
            .optional("body", SECRET, "none", "the body as it is")
            .optional("json", MAP, "none", "the body as a value, sent as application/json")
            .optional("idempotent", BOOL, "false", IDEMPOTENT)
            .undo("none: the other side has it")
            .errors(&[Refused, Failed, MissingSecret])
            .example("http_post(\"http://localhost:9/hook\", #{json: #{text: \"hello\"}, check: false})"),
        load(),
    ]
}

const REPORT: &str = "planned, sent, answered, failed, error_rate (0 to 1), errors (connect, timeout, broken, unsent), \
    unexpected, statuses (by class: `2xx`), latency (p50_ms, p90_ms, p99_ms, max_ms), rate (answers a second), \
    elapsed_ms, late (sent late: all connections waited), lag_p99_ms, fell_behind (this machine did not keep up)";

fn load() -> Primitive {
    Primitive::of::<LoadTest>(
        "Sends requests at a constant rate, whether or not the answers keep up. Latencies count from the instant that \
         a request was meant for, so that a server that stalls is seen with all that it kept waiting. Failed requests \
         are in the answer and no error.",
    )
    .positional(&["url"])
    .required("url", SECRET, "the address; redirects are not followed")
    .optional("method", STRING, "\"GET\"", "with GET, HEAD and OPTIONS it only reads")
    .optional("headers", MAP, "#{}", "headers; may be secrets")
    .optional("body", SECRET, "none", "the body as it is")
    .optional("rate", FLOAT, "10", "requests a second, at most 10000")
    .optional("duration", DURATION, "\"10s\"", "at most 1 h")
    .optional("connections", INT, "32", "requests under way at a time, at most 1000")
    .optional("keep_alive", BOOL, "true", "keeps connections open from one request to the next")
    .optional("timeout", DURATION, "\"10s\"", "of one request; at most 5 m")
    .optional("status", LIST, "below 400", "status codes that are expected")
    .returns(REPORT)
    .undo("none: the other side has them")
    .errors(&[Refused, Failed, MissingSecret])
    .example("let load = load_test(\"http://localhost:9/\", #{rate: 50, duration: \"1s\"});")
}
