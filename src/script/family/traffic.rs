//! Who gets the requests of a service: routes, weights, switches, drains, holds, figures.

use super::{BOOL, CONTAINER, DURATION, INT, LIST, MAP, STRING};
use crate::effect::ErrorKind::{Conflict, DiskFull, Failed, NotFound, PortTaken, Refused, Unhealthy, Unsupported};
use crate::effect::traffic::{
    AskStats, DeclareRoute, DrainTarget, ForgetRoute, HoldTraffic, ListRoutes, MirrorTraffic, ReleaseTraffic,
    SetTargets, ShowRoute, SwitchTraffic,
};
use crate::script::primitive::Primitive;

const ROUTE: &str = "service, driver, route (address, host, path_prefix, check), epoch, targets (name, address, weight, healthy, draining, in_flight, streams, served), sticky, canary, mirror, held";
const TARGET: &str = "target";
const SERVICE_DOC: &str = "service whose route it is";
const TARGET_DOC: &str = "the target: its name, its container, or the map that `traffic_show` returns";

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<DeclareRoute>(
            "Declares where a service is reached, and which program owns that address. Targets that the route has stay; a new one answers 503 until `traffic_set`.",
        )
        .required("service", STRING, "name of the service")
        .required("address", STRING, "public address, such as \"0.0.0.0:80\"")
        .optional("also", LIST, "[]", "further public addresses that answer the same")
        .optional("host", STRING, "every host", "requests for this host alone")
        .optional("path_prefix", STRING, "every path", "requests below this path alone; the longest wins")
        .optional("check", MAP, "#{}", "how targets are watched: path, interval (1s), timeout (2s), fall (3), rise (2)")
        .optional("driver", "string or map", "\"proxy\"", "proxy, nginx, haproxy or caddy; a map with `kind` and where it is: control (proxy), include, test, reload (nginx), socket, backend, state_file (haproxy), admin (caddy)")
        .optional("probe", STRING, "the address with the path of `check`", "URL that is asked after each change")
        .returns(ROUTE)
        .undo("the route as it was; one that was not there is forgotten")
        .errors(&[NotFound, PortTaken, Conflict, Refused, Failed, DiskFull, Unsupported])
        .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\", check: #{path: \"/\"}})"),
        Primitive::of::<ForgetRoute>("Takes a route away: nobody answers at its address any more.")
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .optional("missing_ok", BOOL, "false", "no error when there is none")
            .optional("driver_gone", BOOL, "false", "forgets it also when its driver does not answer, for a driver that is gone for good: one that comes back has the route still")
            .returns("removed")
            .undo("cannot be taken back; the error names its targets")
            .errors(&[NotFound, Conflict, Refused, Failed, DiskFull])
            .example("traffic_forget(\"web\", #{missing_ok: true})"),
        Primitive::of::<SetTargets>(
            "Sets the targets of a service and their weights, all of them; reads back what the driver has, and proves it by a request through the public address.",
        )
        .positional(&["service", "targets"])
        .required("service", STRING, SERVICE_DOC)
        .required("targets", LIST, "maps: container and port, or address; weight (1; 0 keeps it warm), name (the beginning of the container's id)")
        .optional("sticky", BOOL, "false", "a visitor stays with the first target until the next step")
        .optional("canary", MAP, "none", "who goes to one target whatever the weights: target, by (\"header\" or \"cookie\"), name, value")
        .optional("back_to", TARGET, "as it was", "who gets everything, in one switch, when this is taken back")
        .returns(ROUTE)
        .undo("the targets and weights as they were; with `back_to` one switch")
        .errors(&[NotFound, Conflict, Refused, Failed, Unhealthy, DiskFull, Unsupported])
        .example("let web = docker_run(#{name: \"web\", image: \"web:v1\", ports: [\"127.0.0.1:8081:5000\"]});\nhealth_wait(web, #{path: \"/\"});\ntraffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_set(\"web\", [#{container: web, port: 5000}])"),
        Primitive::of::<SwitchTraffic>(
            "Lets all requests go to one target from now on; the others stay warm, with weight 0, and get requests when it is not well. Reads back and proves it.",
        )
        .positional(&["service", "target"])
        .required("service", STRING, SERVICE_DOC)
        .required("target", TARGET, TARGET_DOC)
        .returns(ROUTE)
        .undo("the targets and weights as they were")
        .errors(&[NotFound, Conflict, Refused, Failed, Unhealthy, DiskFull])
        .example("let blue = docker_run(#{name: \"blue\", image: \"web:v1\", ports: [\"127.0.0.1:8081:5000\"]});\nlet green = docker_run(#{name: \"green\", image: \"web:v2\", ports: [\"127.0.0.1:8082:5000\"]});\nhealth_wait(blue, #{path: \"/\"});\nhealth_wait(green, #{path: \"/\"});\ntraffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_set(\"web\", [#{container: blue}, #{container: green, weight: 0}]);\ntraffic_switch(\"web\", green)"),
        Primitive::of::<DrainTarget>(
            "Gives a target no new requests, waits until it has none left, and cuts those that are left at the deadline.",
        )
        .positional(&["service", "target"])
        .required("service", STRING, SERVICE_DOC)
        .required("target", TARGET, TARGET_DOC)
        .optional("deadline", DURATION, "\"30s\"", "when what is left is cut")
        .optional("streams_deadline", DURATION, "the same", "of upgraded streams (WebSocket)")
        .returns("waited_ms, requests_cut, streams_cut")
        .undo("the target gets requests again")
        .errors(&[NotFound, Conflict, Refused, Failed, DiskFull, Unsupported])
        .example("let blue = docker_run(#{name: \"blue\", image: \"web:v1\", ports: [\"127.0.0.1:8081:5000\"]});\nlet green = docker_run(#{name: \"green\", image: \"web:v2\", ports: [\"127.0.0.1:8082:5000\"]});\nhealth_wait(green, #{path: \"/\"});\ntraffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_set(\"web\", [#{container: green}, #{container: blue, weight: 0}]);\ntraffic_drain(\"web\", blue, #{deadline: \"10s\"})"),
        Primitive::of::<HoldTraffic>(
            "Lets new requests wait, so that an app of which only one may run can be stopped and started without a failure. Ends by itself.",
        )
        .positional(&["service"])
        .required("service", STRING, SERVICE_DOC)
        .optional("max_requests", INT, "1000", "that many wait; the others are answered 503")
        .optional("max_wait", DURATION, "\"30s\"", "after that those who wait are answered 503, and new ones go on")
        .returns(ROUTE)
        .undo("`traffic_release`")
        .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
        .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_hold(\"web\", #{max_wait: \"10s\"});\ntraffic_release(\"web\")"),
        Primitive::of::<ReleaseTraffic>("Lets the requests go on that `traffic_hold` made wait; nothing happens when none does.")
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .returns("waiting: requests that go on now; turned_away: those that were answered 503")
            .undo("nothing to take back")
            .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
            .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_release(\"web\")"),
        Primitive::of::<MirrorTraffic>(
            "Sends copies of safe requests without a body to another address too, and drops its answers; without `address` that ends.",
        )
        .positional(&["service", "address"])
        .required("service", STRING, SERVICE_DOC)
        .optional("address", STRING, "nobody any more", "HOST:PORT that gets the copies")
        .optional("percent", INT, "100", "of a hundred requests")
        .returns(ROUTE)
        .undo("whoever got copies before")
        .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
        .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_mirror(\"web\", \"127.0.0.1:8082\", #{percent: 10})"),
        Primitive::of::<AskStats>("Tells what each target did lately.")
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .optional("window", DURATION, "\"60s\"", "how far it looks back; at most 10m")
            .returns("service, window, targets: by name requests, in_flight, streams, errors (connect, timeout, broken, cut, client), statuses (\"2xx\" ...), latency (p50_ms, p90_ms, p99_ms, max_ms), total (since it was first reached: what `canary_since` takes)")
            .errors(&[NotFound, Refused, Failed, Unsupported])
            .example("traffic_route(#{service: \"web\", address: \"0.0.0.0:80\"});\ntraffic_stats(\"web\", #{window: \"30s\"})"),
        Primitive::of::<ShowRoute>("Shows the route of a service as its driver has it: targets, weights, health, requests in flight.")
            .positional(&["service"])
            .required("service", STRING, SERVICE_DOC)
            .optional("missing_ok", BOOL, "false", "() instead of an error when there is none")
            .returns(ROUTE)
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("traffic_show(\"web\", #{missing_ok: true})"),
        Primitive::of::<ListRoutes>("Lists the routes of the host; with `container`, those that refer to it.")
            .optional("container", CONTAINER, "all routes", "who must be among the targets")
            .returns("a list of: service, driver, view (as `traffic_show`; () when the driver does not answer), error")
            .errors(&[Refused, Failed])
            .example("traffic_list()"),
    ]
}
