//! Named volumes.

use super::{BOOL, DURATION, INT, MAP, NO_TIMEOUT_HARM, STRING};
use crate::effect::ErrorKind::{Conflict, DiskFull, Failed, Locked, NameTaken, NotFound, Refused, Unsupported};
use crate::effect::volume::{
    CloneVolume, CreateVolume, ListVolumes, MeasureVolume, PruneVolumes, RemoveVolume, RestoreVolume, SnapshotVolume,
    SwapVolumes,
};
use crate::script::primitive::Primitive;

const WRITTEN: &str =
    "when a running container can write to it: \"refuse\", \"pause\" (halt it for the length of the copy) or \"allow\"";
const WAY: &str = "\"files\" (folder to folder, on the engine's machine), \"engine\" (its archive API), or what can be";
const VERIFY: &str = "reads the copy back and compares it";

/// The options of whatever reads a whole volume and writes another.
fn copying(primitive: Primitive) -> Primitive {
    primitive.optional("way", STRING, "\"auto\"", WAY).optional("verify", BOOL, "true", VERIFY).optional(
        "timeout",
        DURATION,
        "\"1h\"",
        NO_TIMEOUT_HARM,
    )
}

pub fn primitives() -> Vec<Primitive> {
    [makers(), copies(), snapshots()].concat()
}

fn makers() -> Vec<Primitive> {
    vec![
        Primitive::of::<CreateVolume>("Makes a named volume; one that is there already is left as it is.")
            .positional(&["name"])
            .required("name", STRING, "the volume's name")
            .optional("labels", MAP, "#{}", "labels besides deployer's own")
            .optional("service", STRING, "none", "service it belongs to: the label deployer.service")
            .returns("name, driver, mountpoint, labels, created_at, content_id (where it can be seen)")
            .undo("removes it, if this run made it")
            .errors(&[Conflict, Refused, Failed, DiskFull])
            .example("volume_create(\"uploads\")"),
        Primitive::of::<ListVolumes>("Lists named volumes by name; one that is being copied is not there yet.")
            .positional(&["name"])
            .optional("name", STRING, "any", "exactly this name")
            .optional("labels", MAP, "#{}", "carrying all these labels")
            .returns("a list of volumes")
            .errors(&[Refused, Failed])
            .example("volume_list()"),
        Primitive::of::<RemoveVolume>("Removes a volume and all that is in it. Refused while a container uses it.")
            .positional(&["name"])
            .required("name", STRING, "the volume's name")
            .optional("missing_ok", BOOL, "false", "does nothing when there is no such volume")
            .optional("disposable", BOOL, "false", "nobody will miss it: the run can be taken back without it")
            .returns("removed: whether there was one")
            .undo("none: the files are gone")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("volume_create(\"scratch\");\nvolume_remove(\"scratch\")"),
    ]
}

fn copies() -> Vec<Primitive> {
    vec![
        copying(
            Primitive::of::<CloneVolume>(
                "Copies a volume into a new one, with owners, modes, times, links, holes, pipes and extended attributes, and compares both. Through the engine (\"engine\") times are to the second, holes become zeros and users' extended attributes are lost.",
            )
            .positional(&["volume", "to"])
            .required("volume", STRING, "the volume to copy")
            .required("to", STRING, "the name of the new one")
            .optional("while_written", STRING, "\"refuse\"", WRITTEN),
        )
        .optional("labels", MAP, "#{}", "labels besides deployer's own")
        .optional("service", STRING, "none", "service it belongs to: the label deployer.service")
        .returns("name, of, bytes, files, shared (bytes that the file system shares), way, digest")
        .undo("removes the copy, and what there is of a half one; halted containers go on")
        .errors(&[NotFound, NameTaken, Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_create(\"data\");\nvolume_clone(\"data\", \"data-copy\", #{while_written: \"pause\"})"),
        Primitive::of::<SwapVolumes>(
            "Two volumes exchange their contents, in one step; no running container may use either. Where the folders of the volumes cannot be reached from here it is refused.",
        )
        .positional(&["volume", "other"])
        .required("volume", STRING, "one of them")
        .required("other", STRING, "the other")
        .returns("swapped: whether it was necessary")
        .undo("exchanges them again")
        .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
            .example("volume_create(\"data\");\nvolume_create(\"data-green\");\nvolume_swap(\"data\", \"data-green\")"),
        Primitive::of::<MeasureVolume>(
            "Counts what is in a volume. Where its folder cannot be reached from here all of it is read through the engine.",
        )
        .positional(&["volume"])
        .required("volume", STRING, "the volume")
        .optional("timeout", DURATION, "\"5m\"", NO_TIMEOUT_HARM)
        .returns("bytes (a file with several names counts once), files (names of all that is no folder)")
        .errors(&[NotFound, Refused, Failed, Unsupported])
            .example("volume_create(\"data\");\nvolume_size(\"data\").bytes"),
    ]
}

fn snapshots() -> Vec<Primitive> {
    vec![
        copying(
            Primitive::of::<SnapshotVolume>("Keeps a copy of a volume, named after it and the instant (UTC).")
                .positional(&["volume"])
                .required("volume", STRING, "the volume to keep")
                .optional("while_written", STRING, "\"refuse\"", WRITTEN),
        )
        .optional("labels", MAP, "#{}", "labels besides deployer's own")
        .returns("name, of, at, bytes, files, shared, way, digest")
        .undo("a whole snapshot stays, to go back to; of a half one nothing stays, and halted containers go on")
        .errors(&[NotFound, Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_create(\"data\");\nvolume_snapshot(\"data\")"),
        copying(
            Primitive::of::<RestoreVolume>(
                "Puts a copy of a snapshot, or of any volume, in the place of what a volume holds; that is kept as a snapshot itself. No running container may use the volume; without access to its folder not even a stopped one may, for it is made anew.",
            )
            .positional(&["snapshot"])
            .required("snapshot", STRING, "the volume to copy from")
            .optional("to", STRING, "the volume that the snapshot is of", "the volume to fill"),
        )
        .returns(RESTORED)
        .undo("puts back what was replaced")
        .errors(&[NotFound, Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_create(\"data\");\nvolume_create(\"data-saved\");\nvolume_restore(\"data-saved\", #{to: \"data\"})"),
        Primitive::of::<PruneVolumes>(
            "Removes old snapshots, and what killed runs left half copied; never what a container uses. With neither `keep` nor `older_than` no snapshot goes.",
        )
        .positional(&["volume"])
        .optional("volume", STRING, "every volume", "snapshots of this volume")
        .optional("keep", INT, "none", "so many of the newest stay, whatever their age")
        .optional("older_than", DURATION, "any age", "only those that are older go")
        .returns("removed, unfinished (half copies), in_use (due, but used): lists of names")
        .undo("none: what was due is gone")
        .errors(&[Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_prune(\"data\", #{keep: 5, older_than: \"30d\"})"),
    ]
}

const RESTORED: &str =
    "volume, snapshot, kept (the snapshot of what was replaced), restored, bytes, files, shared, way, digest";
