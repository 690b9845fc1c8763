//! Compose projects.

use super::{BOOL, DURATION, LIST, MAP, STRING, TIMEOUT};
use crate::effect::ErrorKind::{
    Conflict, DiskFull, Failed, MissingSecret, MissingTool, NotFound, PortTaken, Refused, Unsupported,
};
use crate::effect::compose::{ComposeConfig, ComposePs, ComposeStop, ComposeUp};
use crate::script::primitive::Primitive;

fn project(primitive: Primitive) -> Primitive {
    primitive
        .positional(&["file"])
        .required("file", STRING, "path of the compose file")
        .optional("project", STRING, "the folder's name", "name of the project")
        .optional("environment", MAP, "#{}", "values for ${...} in the file; can be secrets")
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        project(Primitive::of::<ComposeUp>("Creates and starts services of a compose file in the background."))
            .optional("services", LIST, "all", "names of services")
            .optional("build", BOOL, "false", "build their images first")
            .optional("force_recreate", BOOL, "false", "recreate their containers")
            .optional("no_deps", BOOL, "false", "do not start the services they depend on")
            .optional("timeout", DURATION, "\"10m\"", TIMEOUT)
            .returns("a list of the services' containers")
            .undo("restores the containers that existed before, each from a stopped copy (`NAME-before-ID`) that is made first, and removes the others")
            .errors(&[
                NotFound,
                PortTaken,
                Conflict,
                Refused,
                Failed,
                MissingTool,
                MissingSecret,
                DiskFull,
                Unsupported,
            ])
            .example("compose_up(\"docker-compose.yml\", #{services: [\"web\"]})"),
        project(Primitive::of::<ComposeStop>("Stops services of a compose file."))
            .optional("services", LIST, "all", "names of services")
            .optional("remove", BOOL, "false", "remove their containers too")
            .optional("disposable", BOOL, "false", "removed containers need not come back if the run is rolled back")
            .undo("starts the containers again if they were running before, and restores removed ones from a copy")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
            .example("compose_stop(\"docker-compose.yml\", #{services: [\"web\"]})"),
        project(Primitive::of::<ComposePs>("Lists the containers of a compose project, including stopped ones."))
            .optional("services", LIST, "all", "names of services")
            .returns("a list of containers")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
            .example("compose_ps(\"docker-compose.yml\")"),
        project(Primitive::of::<ComposeConfig>(
            "Reads a compose file as compose resolves it. Values of environment variables are left out, since they can be secrets.",
        ))
        .returns("the file as a map")
        .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
        .example("compose_config(\"docker-compose.yml\")"),
    ]
}
