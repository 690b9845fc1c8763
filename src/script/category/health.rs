//! Health checks.

use super::{CONTAINER, DURATION, INT, LIST, MAP, SECRET, STRING};
use crate::effect::ErrorKind::{ContainerDied, Failed, MissingSecret, NotFound, Refused, Unhealthy};
use crate::effect::health::WaitHealthy;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<WaitHealthy>(
            "Waits until a container, a URL or a port is healthy. Fails immediately, with the last log lines, if the container dies.",
        )
        .positional(&["container"])
        .optional("container", CONTAINER, "none", "with `path` or `port`: request over HTTP; alone: its own health check, or that it keeps running")
        .optional("url", SECRET, "none", "URL to request")
        .optional("tcp", STRING, "none", "HOST:PORT to connect to")
        .optional("port", INT, "its only one", "port inside the container")
        .optional("path", STRING, "\"/\" with `port`", "path of the request")
        .optional("status", LIST, "200 to 299", "status codes that count as healthy")
        .optional("body", STRING, "any", "text that the body must contain")
        .optional("json", MAP, "#{}", "expected fields of the JSON body; \"a.b\" is a nested field")
        .optional("headers", MAP, "#{}", "request headers; can be secrets")
        .optional("successes", INT, "1", "consecutive healthy answers that are needed")
        .optional("steady", DURATION, "\"1s\"", "how long a container without a health check must have been running")
        .optional("interval", DURATION, "\"1s\"", "longest pause between attempts; the first pauses are 50 ms, 100 ms, ...")
        .optional("request_timeout", DURATION, "\"5s\"", "time limit of one attempt")
        .optional("timeout", DURATION, "\"60s\"", "time limit of all attempts")
        .returns("attempts, waited_ms, status")
        .errors(&[NotFound, Refused, Failed, Unhealthy, ContainerDied, MissingSecret])
        .example("let web = docker_run(#{name: \"web\", image: \"web:v1\", ports: [\"8080:5000\"]});\nhealth_wait(web, #{path: \"/\", timeout: \"30s\"})"),
    ]
}
