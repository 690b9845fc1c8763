//! The host machine.

use super::{INT, STRING};
use crate::effect::ErrorKind::{Failed, MissingSecret, Refused, Unsupported};
use crate::effect::host::{CheckSecret, HostDisk, HostMemory, PortFree, ReadEnv};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<HostMemory>("Returns the memory of the machine that runs the containers, in MiB.")
            .returns("total_mb, available_mb (() if a remote engine does not report it)")
            .errors(&[Refused, Failed])
            .example("host_memory()"),
        Primitive::of::<HostDisk>("Returns the size of and free space on the file system of a path, in MiB.")
            .positional(&["path"])
            .required("path", STRING, "any path")
            .returns("total_mb, available_mb")
            .errors(&[Refused, Failed, Unsupported])
            .example("host_disk(\"/\")"),
        Primitive::of::<PortFree>("Checks whether a TCP port is free on the machine that runs the containers.")
            .positional(&["port"])
            .required("port", INT, "the port")
            .returns("free; container: the one that publishes the port, if there is one")
            .errors(&[Refused, Failed])
            .example("port_free(8081)"),
        Primitive::of::<ReadEnv>("Reads an environment variable of deployer's own process. The value is journalled: use `secret` for anything secret.")
            .positional(&["name"])
            .required("name", STRING, "name of the variable")
            .returns("the value, or () if the variable is not set")
            .example("env(\"HOME\")"),
        Primitive::of::<CheckSecret>("Refers to a secret: the environment variable NAME, or the file named by NAME_FILE. Only its name is printed and stored.")
            .positional(&["name"])
            .required("name", STRING, "name of the secret")
            .returns("a secret; join it to text with `+`")
            .errors(&[MissingSecret])
            .example("secret(\"DEPLOY_TOKEN\")"),
    ]
}
