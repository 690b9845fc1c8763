//! Compose projects.

use super::{BOOL, DURATION, LIST, MAP, NO_TIMEOUT_HARM, STRING};
use crate::effect::ErrorKind::{
    Conflict, DiskFull, Failed, MissingSecret, MissingTool, NotFound, PortTaken, Refused, Unsupported,
};
use crate::effect::compose::{ComposeConfig, ComposePs, ComposeStop, ComposeUp};
use crate::script::primitive::Primitive;

fn project(primitive: Primitive) -> Primitive {
    primitive
        .positional(&["file"])
        .required("file", STRING, "path of the compose file")
        .optional("project", STRING, "the folder's name", "the project's name")
        .optional("environment", MAP, "#{}", "values for ${...} in the file; may be secrets")
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        project(Primitive::of::<ComposeUp>("Creates and starts services of a compose file, in the background."))
            .optional("services", LIST, "all", "names of services")
            .optional("build", BOOL, "false", "builds their images first")
            .optional("force_recreate", BOOL, "false", "makes their containers anew")
            .optional("no_deps", BOOL, "false", "leaves the services that these depend on as they are")
            .optional("timeout", DURATION, "\"10m\"", NO_TIMEOUT_HARM)
            .returns("a list of the services' containers")
            .undo("stops and removes them, if none were there before")
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
            .optional("remove", BOOL, "false", "removes their containers too")
            .undo("starts them again, if they ran before")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
            .example("compose_stop(\"docker-compose.yml\", #{services: [\"web\"]})"),
        project(Primitive::of::<ComposePs>("Lists the containers of a compose project, stopped ones too."))
            .optional("services", LIST, "all", "names of services")
            .returns("a list of containers")
            .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
            .example("compose_ps(\"docker-compose.yml\")"),
        project(Primitive::of::<ComposeConfig>(
            "Reads a compose file as compose understands it, less environment values: they may be secrets.",
        ))
        .returns("the file as a map")
        .errors(&[NotFound, Refused, Failed, MissingTool, MissingSecret, Unsupported])
        .example("compose_config(\"docker-compose.yml\")"),
    ]
}
