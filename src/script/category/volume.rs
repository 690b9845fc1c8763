//! Named volumes.

use super::{BOOL, DISPOSABLE, DURATION, INT, MAP, STRING, TIMEOUT};
use crate::effect::ErrorKind::{Conflict, DiskFull, Failed, Locked, NameTaken, NotFound, Refused, Unsupported};
use crate::effect::volume::{
    CloneVolume, CreateVolume, ListVolumes, MeasureVolume, PruneVolumes, RemoveVolume, RestoreVolume, SnapshotVolume,
    SwapVolumes,
};
use crate::script::primitive::Primitive;

const WRITTEN: &str = "if a running container can write to the volume: \"refuse\", \"pause\" (pause the container during the copy) or \"allow\"";
const WAY: &str = "\"files\" (folder to folder, on the engine's machine), \"engine\" (its archive API) or \"auto\"";
const VERIFY: &str = "read the copy back and compare it";

/// Adds the options of primitives that copy a whole volume.
fn copying(primitive: Primitive) -> Primitive {
    primitive
        .optional("way", STRING, "\"auto\"", WAY)
        .optional("verify", BOOL, "true", VERIFY)
        .optional("timeout", DURATION, "\"1h\"", TIMEOUT)
}

pub fn primitives() -> Vec<Primitive> {
    [makers(), copies(), snapshots()].concat()
}

fn makers() -> Vec<Primitive> {
    vec![
        Primitive::of::<CreateVolume>("Creates a named volume. Keeps an existing volume of that name as it is.")
            .positional(&["name"])
            .required("name", STRING, "name of the volume")
            .optional("labels", MAP, "#{}", "additional labels")
            .optional("service", STRING, "none", "service of the volume: the label deployer.service")
            .returns("name, driver, mountpoint, labels, created_at, content_id (if it is accessible)")
            .undo("removes the volume if this run created it")
            .errors(&[Conflict, Refused, Failed, DiskFull])
            .example("volume_create(\"uploads\")"),
        Primitive::of::<ListVolumes>("Lists named volumes by name. Unfinished copies are left out.")
            .positional(&["name"])
            .optional("name", STRING, "any", "only the volume with this exact name")
            .optional("labels", MAP, "#{}", "only volumes with all these labels")
            .returns("a list of volumes")
            .errors(&[Refused, Failed])
            .example("volume_list()"),
        Primitive::of::<RemoveVolume>("Removes a volume and its content. Fails while a container uses it.")
            .positional(&["name"])
            .required("name", STRING, "name of the volume")
            .optional("missing_ok", BOOL, "false", "do nothing if the volume does not exist")
            .optional("disposable", BOOL, "false", DISPOSABLE)
            .returns("removed: whether the volume existed")
            .undo("impossible: the files are gone")
            .errors(&[NotFound, Conflict, Refused, Failed])
            .example("volume_create(\"scratch\");\nvolume_remove(\"scratch\")"),
    ]
}

fn copies() -> Vec<Primitive> {
    vec![
        copying(
            Primitive::of::<CloneVolume>(
                "Copies a volume into a new one, with owners, modes, times, links, holes, pipes and extended attributes, and compares both. With `way: \"engine\"`, times are exact to the second, holes become zeros and user extended attributes are lost.",
            )
            .positional(&["volume", "to"])
            .required("volume", STRING, "volume to copy")
            .required("to", STRING, "name of the new volume")
            .optional("while_written", STRING, "\"refuse\"", WRITTEN),
        )
        .optional("labels", MAP, "#{}", "additional labels")
        .optional("service", STRING, "none", "service of the volume: the label deployer.service")
        .returns("name, of, bytes, files, shared (bytes shared by the file system), way, digest")
        .undo("removes the copy, even an unfinished one; paused containers continue")
        .errors(&[NotFound, NameTaken, Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_create(\"data\");\nvolume_clone(\"data\", \"data-copy\", #{while_written: \"pause\"})"),
        Primitive::of::<SwapVolumes>(
            "Exchanges the contents of two volumes atomically. No running container may use either. Fails if the folders of the volumes are not accessible from this machine.",
        )
        .positional(&["volume", "other"])
        .required("volume", STRING, "one volume")
        .required("other", STRING, "the other volume")
        .returns("swapped: false if the volumes were already exchanged")
        .undo("exchanges them again")
        .errors(&[NotFound, Conflict, Refused, Failed, Unsupported])
            .example("volume_create(\"data\");\nvolume_create(\"data-green\");\nvolume_swap(\"data\", \"data-green\")"),
        Primitive::of::<MeasureVolume>(
            "Measures the size of a volume. If its folder is not accessible from this machine, all of it is read through the engine.",
        )
        .positional(&["volume"])
        .required("volume", STRING, "name of the volume")
        .optional("timeout", DURATION, "\"5m\"", TIMEOUT)
        .returns("bytes (a file with several links counts once), files (number of entries that are not folders)")
        .errors(&[NotFound, Refused, Failed, Unsupported])
            .example("volume_create(\"data\");\nvolume_size(\"data\").bytes"),
    ]
}

fn snapshots() -> Vec<Primitive> {
    vec![
        copying(
            Primitive::of::<SnapshotVolume>("Copies a volume into a snapshot, named after the volume and the time (UTC).")
                .positional(&["volume"])
                .required("volume", STRING, "volume to copy")
                .optional("while_written", STRING, "\"refuse\"", WRITTEN),
        )
        .optional("labels", MAP, "#{}", "additional labels")
        .returns("name, of, at, bytes, files, shared, way, digest")
        .undo("none: a complete snapshot is kept; an unfinished one is removed, and paused containers continue")
        .errors(&[NotFound, Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_create(\"data\");\nvolume_snapshot(\"data\")"),
        copying(
            Primitive::of::<RestoreVolume>(
                "Replaces the content of a volume with a copy of a snapshot or of another volume. The replaced content is kept as a snapshot. No running container may use the volume; if its folder is not accessible from this machine, not even a stopped one may, since the volume is recreated.",
            )
            .positional(&["snapshot"])
            .required("snapshot", STRING, "volume to copy from")
            .optional("to", STRING, "the volume of the snapshot", "volume to replace"),
        )
        .returns(RESTORED)
        .undo("restores the replaced content")
        .errors(&[NotFound, Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_create(\"data\");\nvolume_create(\"data-saved\");\nvolume_restore(\"data-saved\", #{to: \"data\"})"),
        Primitive::of::<PruneVolumes>(
            "Removes old snapshots and unfinished copies of killed runs, but nothing that a container uses. With neither `keep` nor `older_than`, no snapshot is removed.",
        )
        .positional(&["volume"])
        .optional("volume", STRING, "every volume", "only snapshots of this volume")
        .optional("keep", INT, "none", "how many of the newest to keep, regardless of age")
        .optional("older_than", DURATION, "any age", "remove only snapshots older than this")
        .returns("removed, unfinished (incomplete copies), in_use (due, but in use): lists of names")
        .undo("impossible: the snapshots are gone")
        .errors(&[Conflict, Refused, Failed, DiskFull, Locked, Unsupported])
            .example("volume_prune(\"data\", #{keep: 5, older_than: \"30d\"})"),
    ]
}

const RESTORED: &str =
    "volume, snapshot, kept (snapshot of the replaced content), restored, bytes, files, shared, way, digest";
