//! Networks.

use super::{BOOL, CONTAINER, CONTAINER_DOC, DISPOSABLE, LIST, MAP, STRING};
use crate::effect::ErrorKind::{Conflict, Failed, NotFound, Refused};
use crate::effect::network::{ConnectNetwork, CreateNetwork, ListNetworks, RemoveNetwork};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<CreateNetwork>("Creates a network. Keeps an existing network of that name as it is.")
            .positional(&["name"])
            .required("name", STRING, "name of the network")
            .optional("driver", STRING, "\"bridge\"", "driver of the network")
            .optional("internal", BOOL, "false", "no access to outside networks")
            .optional("labels", MAP, "#{}", "additional labels")
            .returns("id, name, driver, created (false if it existed), labels")
            .undo("removes the network if this run created it")
            .errors(&[Conflict, Refused, Failed])
            .example("network_create(\"backend\")"),
        Primitive::of::<ListNetworks>("Lists networks by name.")
            .positional(&["name"])
            .optional("name", STRING, "any", "only the network with this exact name")
            .optional("labels", MAP, "#{}", "only networks with all these labels")
            .returns("a list of networks")
            .errors(&[Refused, Failed])
            .example("network_list()"),
        Primitive::of::<ConnectNetwork>("Connects a container to a network.")
            .positional(&["network", "container"])
            .required("network", STRING, "name of the network")
            .required("container", CONTAINER, CONTAINER_DOC)
            .optional("aliases", LIST, "[]", "additional names of the container on this network")
            .undo("disconnects the container")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("network_create(\"backend\");\ndocker_run(#{name: \"web\", image: \"web:v1\"});\nnetwork_connect(\"backend\", \"web\")"),
        Primitive::of::<RemoveNetwork>("Removes a network. Fails while a container is connected to it.")
            .positional(&["name"])
            .required("name", STRING, "name of the network")
            .optional("missing_ok", BOOL, "false", "do nothing if the network does not exist")
            .optional("disposable", BOOL, "false", DISPOSABLE)
            .returns("removed: whether the network existed")
            .undo("creates a network of the same name with the driver `bridge`")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("network_create(\"backend\");\nnetwork_remove(\"backend\")"),
    ]
}
