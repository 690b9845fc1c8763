//! The machine.

use super::{INT, STRING};
use crate::effect::ErrorKind::{Failed, MissingSecret, Refused, Unsupported};
use crate::effect::host::{CheckSecret, HostDisk, HostMemory, PortFree, ReadEnv};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<HostMemory>("Tells the memory of the machine that the containers run on, in MiB.")
            .returns("total_mb, available_mb (() where a remote engine cannot tell)")
            .errors(&[Refused, Failed])
            .example("host_memory()"),
        Primitive::of::<HostDisk>("Tells the room on the file system that holds a path, in MiB.")
            .positional(&["path"])
            .required("path", STRING, "any path")
            .returns("total_mb, available_mb")
            .errors(&[Refused, Failed, Unsupported])
            .example("host_disk(\"/\")"),
        Primitive::of::<PortFree>("Tells whether nobody listens on a TCP port of the machine that the containers run on.")
            .positional(&["port"])
            .required("port", INT, "the port")
            .returns("free, container (who published it, where it is one)")
            .errors(&[Refused, Failed])
            .example("port_free(8081)"),
        Primitive::of::<ReadEnv>("Reads an environment variable of deployer's own process. It goes to the journal: for anything secret use `secret`.")
            .positional(&["name"])
            .required("name", STRING, "the variable's name")
            .returns("its value, or ()")
            .example("env(\"HOME\")"),
        Primitive::of::<CheckSecret>("Names a secret: the environment variable NAME, or the file that NAME_FILE names. Only its name is printed and stored.")
            .positional(&["name"])
            .required("name", STRING, "the secret's name")
            .returns("a secret; join it to text with `+`")
            .errors(&[MissingSecret])
            .example("secret(\"DEPLOY_TOKEN\")"),
    ]
}
