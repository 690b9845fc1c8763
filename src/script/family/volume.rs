//! Named volumes.

use super::{BOOL, MAP, STRING};
use crate::effect::volume::{CreateVolume, ListVolumes, RemoveVolume};
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<CreateVolume>("Makes a named volume; one that is there already is left as it is.")
            .positional(&["name"])
            .required("name", STRING, "the volume's name")
            .optional("labels", MAP, "#{}", "labels besides deployer's own")
            .optional("service", STRING, "none", "service it belongs to: the label deployer.service")
            .returns("name, driver, mountpoint, labels, created_at")
            .undo("removes it, if this run made it")
            .example("volume_create(\"uploads\")"),
        Primitive::of::<ListVolumes>("Lists named volumes by name.")
            .positional(&["name"])
            .optional("name", STRING, "any", "exactly this name")
            .optional("labels", MAP, "#{}", "carrying all these labels")
            .returns("a list of volumes")
            .example("volume_list()"),
        Primitive::of::<RemoveVolume>("Removes a volume and all that is in it. Refused while a container uses it.")
            .positional(&["name"])
            .required("name", STRING, "the volume's name")
            .optional("missing_ok", BOOL, "false", "does nothing when there is no such volume")
            .optional("disposable", BOOL, "false", "nobody will miss it: the run can be taken back without it")
            .returns("removed: whether there was one")
            .undo("none: the files are gone")
            .example("volume_create(\"scratch\");\nvolume_remove(\"scratch\")"),
    ]
}
