//! Networks.

use super::{BOOL, CONTAINER, LIST, MAP, STRING};
use crate::effect::ErrorKind::{Conflict, Failed, NotFound, Refused};
use crate::effect::network::{ConnectNetwork, CreateNetwork, ListNetworks, RemoveNetwork};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<CreateNetwork>("Makes a network; one of that name that is there already is left as it is.")
            .positional(&["name"])
            .required("name", STRING, "the network's name")
            .optional("driver", STRING, "\"bridge\"", "the network's driver")
            .optional("internal", BOOL, "false", "without a way out")
            .optional("labels", MAP, "#{}", "labels besides deployer's own")
            .returns("id, name, driver, created (false: it was there), labels")
            .undo("removes it, if this run made it")
            .errors(&[Conflict, Refused, Failed])
            .example("network_create(\"backend\")"),
        Primitive::of::<ListNetworks>("Lists networks by name.")
            .positional(&["name"])
            .optional("name", STRING, "any", "exactly this name")
            .optional("labels", MAP, "#{}", "carrying all these labels")
            .returns("a list of networks")
            .errors(&[Refused, Failed])
            .example("network_list()"),
        Primitive::of::<ConnectNetwork>("Puts a container on one more network.")
            .positional(&["network", "container"])
            .required("network", STRING, "the network's name")
            .required("container", CONTAINER, "its name, its id, or the map that another primitive returned")
            .optional("aliases", LIST, "[]", "other names of the container there")
            .undo("takes it off again")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("network_create(\"backend\");\ndocker_run(#{name: \"web\", image: \"web:v1\"});\nnetwork_connect(\"backend\", \"web\")"),
        Primitive::of::<RemoveNetwork>("Removes a network. Refused while a container is on it.")
            .positional(&["name"])
            .required("name", STRING, "the network's name")
            .optional("missing_ok", BOOL, "false", "does nothing when there is no such network")
            .optional("disposable", BOOL, "false", "nobody will miss it: the run can be taken back without it")
            .returns("removed: whether there was one")
            .undo("makes one of the same name, with the driver `bridge`")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("network_create(\"backend\");\nnetwork_remove(\"backend\")"),
    ]
}
