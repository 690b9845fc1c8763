//! Containers.

use super::{
    BOOL, CONTAINER, CONTAINER_DOC, DISPOSABLE, DONE_WHEN, DURATION, FLOAT, IDEMPOTENT, INT, LIST, MAP, SIZE, STRING,
    TIMEOUT,
};
use crate::effect::ErrorKind::{
    Conflict, DiskFull, Failed, MissingSecret, NameTaken, NotFound, PortTaken, Refused, Unsupported,
};
use crate::effect::container::{
    CreateContainer, ExecInContainer, InspectContainer, KillContainer, ListContainers, ReadLogs, ReadStats,
    RemoveContainer, RenameContainer, RunContainer, StartContainer, StopContainer, WaitContainer,
};
use crate::script::primitive::Primitive;

const CONTAINER_MAP: &str = "the container: id, name, image, image_id, state, exit_code, health, ports, labels, ...";

/// Adds the options of `docker_run` and `docker_create`. Their names follow compose files.
fn spec(primitive: Primitive) -> Primitive {
    primitive
        .required("name", STRING, "name of the container")
        .required("image", STRING, "name or id of an image on the engine")
        .optional("command", LIST, "the image's", "program and arguments")
        .optional("entrypoint", LIST, "the image's", "program that receives the command")
        .optional("environment", MAP, "#{}", "environment variables; values can be secrets")
        .optional("ports", LIST, "[]", "published ports: \"8081:5000\" or \"127.0.0.1:8081:5000\"")
        .optional("volumes", LIST, "[]", "mounts: \"data:/app/data\" or \"/srv/conf:/etc/conf:ro\"")
        .optional("networks", LIST, "[]", "names of networks; the container starts on the first one")
        .optional("aliases", LIST, "[]", "additional names of the container on its networks")
        .optional(
            "restart",
            STRING,
            "\"no\"",
            "\"no\", \"always\", \"unless-stopped\", \"on-failure\" or \"on-failure:5\"",
        )
        .optional("mem_limit", SIZE, "none", "memory limit: \"512m\"")
        .optional("cpus", FLOAT, "none", "limit of processors: 1.5")
        .optional("healthcheck", MAP, "the image's", "test (list), interval, timeout, retries, start_period")
        .optional("labels", MAP, "#{}", "additional labels")
        .optional("user", STRING, "the image's", "user, or user:group")
        .optional("working_dir", STRING, "the image's", "working directory")
        .optional("hostname", STRING, "the id", "host name inside the container")
        .optional("init", BOOL, "false", "run a minimal init that forwards signals")
        .optional("read_only", BOOL, "false", "make the root file system read-only")
        .optional("extra_hosts", LIST, "[]", "additional host names: \"db:10.0.0.5\"")
        .optional("stop_signal", STRING, "the image's", "signal that asks the program to stop")
        .optional("service", STRING, "none", "service of the container: the label deployer.service")
        .optional("role", STRING, "none", "role in the deploy: the label deployer.role")
        .optional("like", CONTAINER, "none", "container to copy every option from that is not given")
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        spec(Primitive::of::<RunContainer>("Creates a container and starts it."))
            .returns(CONTAINER_MAP)
            .undo("removes the container")
            .errors(&[NotFound, NameTaken, PortTaken, Conflict, Refused, Failed, MissingSecret, DiskFull, Unsupported])
            .example("docker_run(#{name: \"web\", image: \"web:v1\", ports: [\"8080:5000\"]})"),
        spec(Primitive::of::<CreateContainer>("Creates a container without starting it."))
            .returns(CONTAINER_MAP)
            .undo("removes the container")
            .errors(&[NotFound, NameTaken, Conflict, Refused, Failed, MissingSecret, DiskFull, Unsupported])
            .example("docker_create(#{name: \"web\", image: \"web:v1\", ports: [\"8080:5000\"]})"),
        Primitive::of::<StartContainer>("Starts a stopped container. Does nothing if it is running.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .returns(CONTAINER_MAP)
            .undo("stops the container if it was not running before")
            .errors(&[NotFound, PortTaken, Conflict, Refused, Failed])
            .example("docker_create(#{name: \"web\", image: \"web:v1\"});\ndocker_start(\"web\")"),
        Primitive::of::<StopContainer>("Stops a container. Kills it if it is still running after `grace`.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .optional("grace", DURATION, "\"10s\"", "time between the signal and SIGKILL")
            .optional("signal", STRING, "the image's, else SIGTERM", "signal that asks the program to stop")
            .optional("missing_ok", BOOL, "false", "do nothing if the container does not exist")
            .returns("exit_code; killed: whether it was still running after `grace`")
            .undo("starts the container again if it was running before")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_stop(\"web\", #{grace: \"30s\"})"),
        Primitive::of::<KillContainer>("Sends a signal to a container.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .optional("signal", STRING, "\"SIGKILL\"", "name of the signal")
            .undo("starts the container again if it was running before")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_kill(\"web\", #{signal: \"SIGTERM\"})"),
        Primitive::of::<RemoveContainer>("Removes a container and its anonymous volumes. Named volumes stay.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .optional("force", BOOL, "false", "kill the container first if it is running")
            .optional("volumes", BOOL, "true", "remove its anonymous volumes too")
            .optional("missing_ok", BOOL, "false", "do nothing if the container does not exist")
            .optional("disposable", BOOL, "false", DISPOSABLE)
            .returns("removed: whether the container existed")
            .undo("impossible: its files are gone. A run that fails later is stuck, unless the container is `disposable` or this run created it")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_remove(\"web\", #{force: true})"),
        Primitive::of::<RenameContainer>("Renames a container.")
            .positional(&["container", "name"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .required("name", STRING, "the new name")
            .returns(CONTAINER_MAP)
            .undo("restores the old name")
            .errors(&[NotFound, NameTaken, Refused, Failed])
            .example("docker_run(#{name: \"web-new\", image: \"web:v1\"});\ndocker_rename(\"web-new\", \"web\")"),
        Primitive::of::<InspectContainer>("Inspects a container. Values of environment variables are left out, since they can be secrets.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .optional("missing_ok", BOOL, "false", "return () if the container does not exist")
            .returns(CONTAINER_MAP)
            .errors(&[NotFound, Refused, Failed])
            .example("docker_inspect(\"web\", #{missing_ok: true})"),
        Primitive::of::<ListContainers>("Lists containers, newest first.")
            .optional("all", BOOL, "false", "include stopped containers")
            .optional("name", STRING, "any", "only the container with this exact name")
            .optional("image", STRING, "any", "only containers of this image, by name or id")
            .optional("labels", MAP, "#{}", "only containers with all these labels; an empty value matches any value")
            .optional("service", STRING, "any", "only containers of this service")
            .optional("role", STRING, "any", "only containers with this role")
            .returns("a list of containers")
            .errors(&[Refused, Failed])
            .example("docker_list(#{service: \"web\", all: true})"),
        Primitive::of::<ReadLogs>("Reads the last log lines of a container.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .optional("tail", INT, "100", "number of lines")
            .returns("lines: a list of strings, oldest first")
            .errors(&[NotFound, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_logs(\"web\", #{tail: 20})"),
        Primitive::of::<ExecInContainer>("Runs a program inside a running container, without a shell.")
            .positional(&["container", "command"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .required("command", LIST, "program and arguments; can be secrets")
            .optional("environment", MAP, "#{}", "additional environment variables")
            .optional("user", STRING, "the container's", "user, or user:group")
            .optional("working_dir", STRING, "the container's", "working directory")
            .optional("timeout", DURATION, "\"60s\"", TIMEOUT)
            .optional("check", BOOL, "true", "fail if the exit code is not 0")
            .optional("output_limit", SIZE, "\"64k\"", "bytes kept of each stream; the end is kept")
            .optional("idempotent", BOOL, "false", IDEMPOTENT)
            .optional("done_when", LIST, "none", DONE_WHEN)
            .returns("exit_code, stdout, stderr, truncated")
            .undo("none: register one with `on_rollback`")
            .errors(&[NotFound, Conflict, Refused, Failed, MissingSecret, Unsupported])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_exec(\"web\", [\"true\"])"),
        Primitive::of::<ReadStats>("Measures the resource usage of a running container over half a second.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .returns("cpu_percent (100 is one processor), memory, memory_limit, processes, network_in, network_out, disk_read, disk_written; sizes in bytes, () where unknown")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ndocker_stats(\"web\")"),
        Primitive::of::<WaitContainer>("Waits until a container exits.")
            .positional(&["container"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .optional("timeout", DURATION, "\"5m\"", TIMEOUT)
            .returns("exit_code")
            .errors(&[NotFound, Refused, Failed])
            .example("docker_create(#{name: \"web\", image: \"web:v1\"});\ndocker_start(\"web\");\ndocker_stop(\"web\");\ndocker_wait(\"web\")"),
    ]
}
