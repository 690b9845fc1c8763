//! Containers.

use super::{BOOL, CONTAINER, DONE_WHEN, DURATION, FLOAT, IDEMPOTENT, INT, LIST, MAP, NO_TIMEOUT_HARM, SIZE, STRING};
use crate::effect::ErrorKind::{
    Conflict, DiskFull, Failed, MissingSecret, NameTaken, NotFound, PortTaken, Refused, Unsupported,
};
use crate::effect::container::{
    CreateContainer, ExecInContainer, InspectContainer, KillContainer, ListContainers, ReadLogs, ReadStats,
    RemoveContainer, RenameContainer, RunContainer, StartContainer, StopContainer, WaitContainer,
};
use crate::script::primitive::Primitive;

const A_CONTAINER: &str = "its name, its id, or the map that another primitive returned";
const CONTAINER_MAP: &str = "the container: id, name, image, image_id, state, exit_code, health, ports, labels, ...";

/// The keys of a compose file's service, for `docker_run` and `docker_create`.
fn spec(primitive: Primitive) -> Primitive {
    primitive
        .required("name", STRING, "the container's name")
        .required("image", STRING, "name or id of an image that the engine has")
        .optional("command", LIST, "the image's", "program and arguments")
        .optional("entrypoint", LIST, "the image's", "what the command is handed to")
        .optional("environment", MAP, "#{}", "environment variables; values may be secrets")
        .optional("ports", LIST, "[]", "published ports, \"8081:5000\" or \"127.0.0.1:8081:5000\"")
        .optional("volumes", LIST, "[]", "mounts, \"data:/app/data\" or \"/srv/conf:/etc/conf:ro\"")
        .optional("networks", LIST, "[]", "names of networks; the first is there from the start")
        .optional("aliases", LIST, "[]", "other names of the container on its networks")
        .optional(
            "restart",
            STRING,
            "\"no\"",
            "\"no\", \"always\", \"unless-stopped\", \"on-failure\" or \"on-failure:5\"",
        )
        .optional("mem_limit", SIZE, "none", "most memory it may use, \"512m\"")
        .optional("cpus", FLOAT, "none", "most processors it may use, 1.5")
        .optional("healthcheck", MAP, "the image's", "test (list), interval, timeout, retries, start_period")
        .optional("labels", MAP, "#{}", "labels besides deployer's own")
        .optional("user", STRING, "the image's", "user, or user:group")
        .optional("working_dir", STRING, "the image's", "where the program starts")
        .optional("hostname", STRING, "the id", "name that the container gives itself")
        .optional("init", BOOL, "false", "runs a tiny init that passes signals on")
        .optional("read_only", BOOL, "false", "makes its own files read-only")
        .optional("extra_hosts", LIST, "[]", "more host names, \"db:10.0.0.5\"")
        .optional("stop_signal", STRING, "the image's", "signal that asks it to end")
        .optional("service", STRING, "none", "service it belongs to: the label deployer.service")
        .optional("role", STRING, "none", "its part in the deploy: the label deployer.role")
        .optional("like", CONTAINER, "none", "container to take everything from that is not given here")
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        spec(Primitive::of::<RunContainer>("Creates a container and starts it."))
            .returns(CONTAINER_MAP)
            .undo("removes it")
            .errors(&[NotFound, NameTaken, PortTaken, Conflict, Refused, Failed, MissingSecret, DiskFull, Unsupported])
            .example("docker_run(#{name: \"web\", image: \"web:v1\", ports: [\"8080:5000\"]})"),
        spec(Primitive::of::<CreateContainer>("Creates a container and leaves it stopped, ready to start."))
            .returns(CONTAINER_MAP)
            .undo("removes it")
            .errors(&[NotFound, NameTaken, Conflict, Refused, Failed, MissingSecret, DiskFull, Unsupported])
            .example("docker_create(#{name: \"web\", image: \"web:v1\", ports: [\"8080:5000\"]})"),
        Primitive::of::<StartContainer>("Starts a stopped container; a running one is left as it is.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .returns(CONTAINER_MAP)
            .undo("stops it, if it did not run before")
            .errors(&[NotFound, PortTaken, Conflict, Refused, Failed])
            .example("docker_create(#{name: \"web\", image: \"web:v1\"});\ndocker_start(\"web\")"),
        Primitive::of::<StopContainer>("Asks a container to end, and kills it when `grace` is over.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .optional("grace", DURATION, "\"10s\"", "time between the signal and SIGKILL")
            .optional("signal", STRING, "the image's, else SIGTERM", "signal that asks it to end")
            .optional("missing_ok", BOOL, "false", "does nothing when there is no such container")
            .returns("exit_code, and killed: whether the grace was not enough")
            .undo("starts it again, if it ran before")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_stop(\"web\", #{grace: \"30s\"})"),
        Primitive::of::<KillContainer>("Sends a signal to a container.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .optional("signal", STRING, "\"SIGKILL\"", "the signal's name")
            .undo("starts it again, if it ran before")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_kill(\"web\", #{signal: \"SIGTERM\"})"),
        Primitive::of::<RemoveContainer>("Removes a container and its anonymous volumes; named volumes stay.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .optional("force", BOOL, "false", "kills a running one first")
            .optional("volumes", BOOL, "true", "removes its anonymous volumes too")
            .optional("missing_ok", BOOL, "false", "does nothing when there is no such container")
            .optional("disposable", BOOL, "false", "nobody will miss it: the run can be taken back without it")
            .returns("removed: whether there was one")
            .undo("none: its own files are gone; a run that fails afterwards is stuck, unless `disposable`, or this run made it")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_remove(\"web\", #{force: true})"),
        Primitive::of::<RenameContainer>("Gives a container another name.")
            .positional(&["container", "name"])
            .required("container", CONTAINER, A_CONTAINER)
            .required("name", STRING, "the new name")
            .returns(CONTAINER_MAP)
            .undo("gives the old name back")
            .errors(&[NotFound, NameTaken, Refused, Failed])
            .example("docker_run(#{name: \"web-new\", image: \"web:v1\"});\ndocker_rename(\"web-new\", \"web\")"),
        Primitive::of::<InspectContainer>("Looks at one container. Environment values are left out: they may be secrets.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .optional("missing_ok", BOOL, "false", "returns () when there is no such container")
            .returns(CONTAINER_MAP)
            .errors(&[NotFound, Refused, Failed])
            .example("docker_inspect(\"web\", #{missing_ok: true})"),
        Primitive::of::<ListContainers>("Lists containers, newest first.")
            .optional("all", BOOL, "false", "stopped ones too")
            .optional("name", STRING, "any", "exactly this name")
            .optional("image", STRING, "any", "made from this image, by name or id")
            .optional("labels", MAP, "#{}", "carrying all these labels; an empty value asks for the key alone")
            .optional("service", STRING, "any", "of this service")
            .optional("role", STRING, "any", "with this role")
            .returns("a list of containers")
            .errors(&[Refused, Failed])
            .example("docker_list(#{service: \"web\", all: true})"),
        Primitive::of::<ReadLogs>("Reads the last lines that a container wrote.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .optional("tail", INT, "100", "how many lines")
            .returns("lines: a list of strings, oldest first")
            .errors(&[NotFound, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_logs(\"web\", #{tail: 20})"),
        Primitive::of::<ExecInContainer>("Runs a program inside a running container. No shell reads the arguments.")
            .positional(&["container", "command"])
            .required("container", CONTAINER, A_CONTAINER)
            .required("command", LIST, "program and arguments; may be secrets")
            .optional("environment", MAP, "#{}", "more environment variables")
            .optional("user", STRING, "the container's", "user, or user:group")
            .optional("working_dir", STRING, "the container's", "where it starts")
            .optional("timeout", DURATION, "\"60s\"", NO_TIMEOUT_HARM)
            .optional("check", BOOL, "true", "fails when it ends with another code than 0")
            .optional("output_limit", SIZE, "\"64k\"", "bytes kept of each stream; the end is kept")
            .optional("idempotent", BOOL, "false", IDEMPOTENT)
            .optional("done_when", LIST, "none", DONE_WHEN)
            .returns("exit_code, stdout, stderr, truncated")
            .undo("none: what a program did only another program can undo, see `on_rollback`")
            .errors(&[NotFound, Conflict, Refused, Failed, MissingSecret, Unsupported])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_exec(\"web\", [\"true\"])"),
        Primitive::of::<ReadStats>("Measures what a running container uses, over half a second.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .returns("cpu_percent (100 is one processor), memory, memory_limit, processes, network_in, network_out, disk_read, disk_written; bytes, or () where they are not known")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_stats(\"web\")"),
        Primitive::of::<WaitContainer>("Waits until a container ends.")
            .positional(&["container"])
            .required("container", CONTAINER, A_CONTAINER)
            .optional("timeout", DURATION, "\"5m\"", NO_TIMEOUT_HARM)
            .returns("exit_code")
            .errors(&[NotFound, Refused, Failed])
            .example("docker_create(#{name: \"web\", image: \"web:v1\"});\ndocker_start(\"web\");\ndocker_stop(\"web\");\ndocker_wait(\"web\")"),
    ]
}
