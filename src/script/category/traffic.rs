//! Traffic of a service: routes, weights, switches, drains, holds and statistics.

use super::{BOOL, CONTAINER, DURATION, INT, LIST, MAP, STRING};
use crate::effect::ErrorKind::{Conflict, DiskFull, Failed, NotFound, PortTaken, Refused, Unhealthy, Unsupported};
use crate::effect::traffic::{
    DeclareRoute, DrainTarget, ForgetRoute, HoldTraffic, ListRoutes, MirrorTraffic, ReadTrafficStats, ReleaseTraffic,
    SetTargets, ShowRoute, SwitchTraffic,
};
use crate::script::primitive::Primitive;

const ROUTE: &str = "service, driver, route (address, host, path_prefix, check), epoch, targets (name, address, weight, healthy, draining, in_flight, streams, served), sticky, canary, mirror, held";
const TARGET: &str = "target";
const SERVICE_DOC: &str = "name of the service";
const TARGET_DOC: &str = "target: its name, its container, or its map from `traffic_show`";

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<DeclareRoute>(
            "Declares the public address of a service and the driver that owns it. An existing route keeps its targets. A new route answers 503 until `traffic_set`.",
        )
        .required("service", STRING, "name of the service")
        .required("address", STRING, "public address, such as \"0.0.0.0:80\"")
        .optional("also", LIST, "[]", "additional public addresses of the same route")
        .optional("host", STRING, "every host", "only requests for this host")
        .optional("path_prefix", STRING, "every path", "only requests below this path; the longest match wins")
        .optional("check", MAP, "#{}", "health checks of targets: path, interval (1s), timeout (2s), fall (3), rise (2)")
        .optional("driver", "string or map", "\"proxy\"", "proxy, nginx, haproxy or caddy; or a map with `kind` and the driver's options: control (proxy), include, test, reload (nginx), socket, backend, state_file (haproxy), admin (caddy)")
        .optional("probe", STRING, "the address with the path of `check`", "URL requested to confirm each change")
        .returns(ROUTE)
        .undo("restores the previous route, or removes a new one")
        .errors(&[NotFound, PortTaken, Conflict, Refused, Failed, DiskFull, Unsupported])
        .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\", check: #{path: \"/\"}})"),
        Primitive::of::<ForgetRoute>("Removes a route. Its address no longer answers.")
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .optional("missing_ok", BOOL, "false", "do nothing if the route does not exist")
            .optional("driver_gone", BOOL, "false", "remove the route even if its driver does not answer, for a driver that is gone permanently; a driver that returns still has the route")
            .returns("removed")
            .undo("impossible; the error names the targets")
            .errors(&[NotFound, Conflict, Refused, Failed, DiskFull])
            .example("traffic_forget(\"web\", #{missing_ok: true})"),
        Primitive::of::<SetTargets>(
            "Sets all targets of a service and their weights. Reads the result back from the driver and confirms it with a request through the public address.",
        )
        .positional(&["service", "targets"])
        .required("service", STRING, SERVICE_DOC)
        .required("targets", LIST, "maps: container and port, or address; weight (default 1; 0 keeps it warm), name (default: the start of the container's id)")
        .optional("sticky", BOOL, "false", "each client stays with its first target until the next change")
        .optional("canary", MAP, "none", "requests that go to one target regardless of weights: target, by (\"header\" or \"cookie\"), name, value")
        .optional("back_to", TARGET, "the old targets", "target that gets all requests at once if this is undone, instead of its former share")
        .returns(ROUTE)
        .undo("restores the old targets and weights; with `back_to`, the weights of an earlier step are not restored on the way")
        .errors(&[NotFound, Conflict, Refused, Failed, Unhealthy, DiskFull, Unsupported])
        .example("let web = docker_run(#{name: \"web\", image: \"web:v1\", ports: [\"127.0.0.1:8081:5000\"]});\nhealth_wait(web, #{path: \"/\"});\ntraffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_set(\"web\", [#{container: web, port: 5000}])"),
        Primitive::of::<SwitchTraffic>(
            "Sends all requests to one target. The others stay warm, with weight 0, and get requests if it becomes unhealthy. Reads the result back and confirms it.",
        )
        .positional(&["service", "target"])
        .required("service", STRING, SERVICE_DOC)
        .required("target", TARGET, TARGET_DOC)
        .returns(ROUTE)
        .undo("restores the old targets and weights")
        .errors(&[NotFound, Conflict, Refused, Failed, Unhealthy, DiskFull])
        .example("let blue = docker_run(#{name: \"blue\", image: \"web:v1\", ports: [\"127.0.0.1:8081:5000\"]});\nlet green = docker_run(#{name: \"green\", image: \"web:v2\", ports: [\"127.0.0.1:8082:5000\"]});\nhealth_wait(blue, #{path: \"/\"});\nhealth_wait(green, #{path: \"/\"});\ntraffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_set(\"web\", [#{container: blue}, #{container: green, weight: 0}]);\ntraffic_switch(\"web\", green)"),
        Primitive::of::<DrainTarget>(
            "Sends a target no new requests and waits until its requests have finished. Cuts those that remain at the deadline.",
        )
        .positional(&["service", "target"])
        .required("service", STRING, SERVICE_DOC)
        .required("target", TARGET, TARGET_DOC)
        .optional("deadline", DURATION, "\"30s\"", "time limit; remaining requests are then cut")
        .optional("streams_deadline", DURATION, "the same", "time limit of upgraded streams (WebSocket)")
        .returns("waited_ms, requests_cut, streams_cut")
        .undo("sends requests to the target again")
        .errors(&[NotFound, Conflict, Refused, Failed, DiskFull, Unsupported])
        .example("let blue = docker_run(#{name: \"blue\", image: \"web:v1\", ports: [\"127.0.0.1:8081:5000\"]});\nlet green = docker_run(#{name: \"green\", image: \"web:v2\", ports: [\"127.0.0.1:8082:5000\"]});\nhealth_wait(green, #{path: \"/\"});\ntraffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_set(\"web\", [#{container: green}, #{container: blue, weight: 0}]);\ntraffic_drain(\"web\", blue, #{deadline: \"10s\"})"),
        Primitive::of::<HoldTraffic>(
            "Holds new requests, so that an app that can run only once is restarted without failed requests. Ends by itself after `max_wait`.",
        )
        .positional(&["service"])
        .required("service", STRING, SERVICE_DOC)
        .optional("max_requests", INT, "1000", "number of requests held; further ones are answered 503")
        .optional("max_wait", DURATION, "\"30s\"", "time limit; held requests are then answered 503, and new ones pass")
        .optional("until_released", BOOL, "false", "after `max_wait`, new requests are answered 503 until `traffic_release`, instead of passing")
        .returns(ROUTE)
        .undo("releases the held requests")
        .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
        .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_hold(\"web\", #{max_wait: \"10s\"});\ntraffic_release(\"web\")"),
        Primitive::of::<ReleaseTraffic>(
            "Releases the requests held by `traffic_hold`: waits for up to a minute until a target answers its check, then forwards them, at most 64 at the same time. Does nothing if none are held.",
        )
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .returns("waiting: requests that are released; turned_away: requests that were answered 503")
            .undo("holds requests again, with the same limits, while the rest of the run is rolled back")
            .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
            .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_release(\"web\")"),
        Primitive::of::<MirrorTraffic>(
            "Mirrors safe requests without a body to another address and drops its answers. Without `address`, stops mirroring.",
        )
        .positional(&["service", "address"])
        .required("service", STRING, SERVICE_DOC)
        .optional("address", STRING, "none", "HOST:PORT that receives the copies")
        .optional("percent", INT, "100", "share of requests that are mirrored")
        .returns(ROUTE)
        .undo("restores the previous mirroring")
        .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
        .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_mirror(\"web\", \"127.0.0.1:8082\", #{percent: 10})"),
        Primitive::of::<ReadTrafficStats>("Returns recent statistics of each target.")
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .optional("window", DURATION, "\"60s\"", "period to look back, at most 10m")
            .returns("service, window, targets (by name): requests, in_flight, streams, errors (connect, timeout, broken, cut, client), statuses (\"2xx\" ...), latency (p50_ms, p90_ms, p99_ms, max_ms), total (since the target was first reached; input of `canary_since`)")
            .errors(&[NotFound, Refused, Failed, Unsupported])
            .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_stats(\"web\", #{window: \"30s\"})"),
        Primitive::of::<ShowRoute>("Returns the route of a service as its driver has it: targets, weights, health, requests in flight.")
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .optional("missing_ok", BOOL, "false", "return () if the route does not exist")
            .returns(ROUTE)
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("traffic_show(\"web\", #{missing_ok: true})"),
        Primitive::of::<ListRoutes>("Lists the routes of the host.")
            .optional("container", CONTAINER, "any", "only routes with this container as a target")
            .returns("a list of: service, driver, view (as of `traffic_show`; () if the driver does not answer), error")
            .errors(&[Refused, Failed])
            .example("traffic_list()"),
    ]
}
