//! HTTP requests.

use super::{BOOL, DURATION, IDEMPOTENT, MAP, NO_TIMEOUT_HARM, SECRET};
use crate::effect::http::{HttpGet, HttpPost};
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
            .example("http_get(\"http://localhost:9/\", #{check: false, timeout: \"5s\"})"),
        request(Primitive::of::<HttpPost>("Sends a POST request with a text or a JSON body."))
            .optional("body", SECRET, "none", "the body as it is")
            .optional("json", MAP, "none", "the body as a value, sent as application/json")
            .optional("idempotent", BOOL, "false", IDEMPOTENT)
            .undo("none: the other side has it")
            .example("http_post(\"http://localhost:9/hook\", #{json: #{text: \"hello\"}, check: false})"),
    ]
}
