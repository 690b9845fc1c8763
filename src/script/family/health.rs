//! Waiting for health.

use super::{CONTAINER, DURATION, INT, LIST, MAP, SECRET, STRING};
use crate::effect::ErrorKind::{ContainerDied, Failed, MissingSecret, NotFound, Refused, Unhealthy};
use crate::effect::health::WaitHealthy;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<WaitHealthy>(
            "Waits until a container, a URL or a port is healthy; ends at once when the container dies, with its last log lines.",
        )
        .positional(&["container"])
        .optional("container", CONTAINER, "none", "with `path` or `port`: HTTP to it; alone: its own health check, else that it keeps running")
        .optional("url", SECRET, "none", "HTTP to this address")
        .optional("tcp", STRING, "none", "that a connection to HOST:PORT opens")
        .optional("port", INT, "its only one", "port inside the container")
        .optional("path", STRING, "\"/\" with `port`", "path of the request")
        .optional("status", LIST, "200 to 299", "status codes that count as healthy")
        .optional("body", STRING, "any", "text that the body must have in it")
        .optional("json", MAP, "#{}", "fields of the JSON body and their values; \"a.b\" reaches nested ones")
        .optional("headers", MAP, "#{}", "headers of the request; may be secrets")
        .optional("successes", INT, "1", "healthy answers in a row")
        .optional("steady", DURATION, "\"1s\"", "how long a container without a health check must have been running")
        .optional("interval", DURATION, "\"1s\"", "longest pause between two tries; the first pauses are 50 ms, 100 ms ...")
        .optional("request_timeout", DURATION, "\"5s\"", "of one try")
        .optional("timeout", DURATION, "\"60s\"", "of all together")
        .returns("attempts, waited_ms, status")
        .errors(&[NotFound, Refused, Failed, Unhealthy, ContainerDied, MissingSecret])
        .example("let web = docker_run(#{name: \"web\", image: \"web:v1\", ports: [\"8080:5000\"]});\nhealth_wait(web, #{path: \"/\", timeout: \"30s\"})"),
    ]
}
