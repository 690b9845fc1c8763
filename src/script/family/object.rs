//! Objects on storage.

use super::{BOOL, CONTAINER, DURATION, INT, NO_TIMEOUT_HARM, S3, S3_DOC, STRING, URL};
use crate::effect::ErrorKind::{DiskFull, Failed, MissingSecret, NameTaken, NotFound, Refused};
use crate::effect::object::{ArchiveContainer, DeleteObject, GetObject, ListObjects, PruneObjects, PutObject};
use crate::script::primitive::Primitive;

const ADDRESS: &str = "`s3://BUCKET/KEY` or `file:///FOLDER/NAME`";
const TRANSFER: &str = "\"15m\"";
const ASK: &str = "\"60s\"";

fn reached(primitive: Primitive, timeout: &'static str) -> Primitive {
    primitive.optional("s3", S3, "#{}", S3_DOC).optional("timeout", DURATION, timeout, NO_TIMEOUT_HARM)
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        reached(
            Primitive::of::<PutObject>(
                "Stores a file on S3-compatible storage or in a folder. Nothing has the name before all of it is there.",
            )
            .positional(&["path", "to"])
            .required("path", STRING, "a file of this machine")
            .required("to", URL, "`s3://BUCKET/KEY` or `file:///FOLDER/NAME`; with a slash at the end, named like the file")
            .optional("overwrite", BOOL, "false", "replaces what is there, which is gone then"),
            TRANSFER,
        )
        .returns("url, size, sha256")
        .undo("deletes the object; one that was replaced is not brought back")
        .errors(&[NotFound, NameTaken, Refused, Failed, MissingSecret, DiskFull])
        .example("object_put(\"report.txt\", \"file:///var/backups/\")"),
        reached(
            Primitive::of::<GetObject>("Fetches an object into a file, and checks that it arrived as it was stored.")
                .positional(&["url", "path"])
                .required("url", URL, ADDRESS)
                .required("path", STRING, "the file to make; its folder must be there")
                .optional("overwrite", BOOL, "false", "replaces the file, which is gone then"),
            TRANSFER,
        )
        .returns("url, size, sha256")
        .undo("deletes the file; one that was replaced is not brought back")
        .errors(&[NotFound, NameTaken, Refused, Failed, MissingSecret, DiskFull])
        .example(
            "object_put(\"report.txt\", \"file:///var/backups/\");\nobject_get(\"file:///var/backups/report.txt\", \"again.txt\")",
        ),
        reached(
            Primitive::of::<ListObjects>("Lists the objects whose address begins like this, in folders below too, by name.")
                .positional(&["prefix"])
                .required("prefix", URL, "`s3://BUCKET/BEGINNING` or `file:///FOLDER/BEGINNING`")
                .optional("limit", INT, "10000", "at most so many"),
            ASK,
        )
        .returns("a list of url, name, size, modified_ms")
        .errors(&[NotFound, Refused, Failed, MissingSecret])
        .example("object_list(\"file:///var/backups/app-\")"),
        reached(
            Primitive::of::<DeleteObject>("Deletes one object.")
                .positional(&["url"])
                .required("url", URL, ADDRESS)
                .optional("missing_ok", BOOL, "false", "does nothing when there is no such object")
                .optional("disposable", BOOL, "false", "nobody will miss it: the run can be taken back without it"),
            ASK,
        )
        .returns("removed: whether there was one")
        .undo("none: a run that fails afterwards is stuck, unless `disposable`")
        .errors(&[NotFound, Refused, Failed, MissingSecret, DiskFull])
        .example(
            "object_put(\"report.txt\", \"file:///var/backups/\");\nobject_delete(\"file:///var/backups/report.txt\")",
        ),
        reached(
            Primitive::of::<ArchiveContainer>(
                "Stores the whole log of a container, and beside it, as `.json`, what the engine knows of it, with its stats while it runs. In CloudWatch Logs each line is an event with its own time; group and stream are made when they are missing, and the stream with `.json` at the end of its name has one event. Lines that are older than the group keeps are sent as of now, with their time in the text; a line may arrive twice after a fault.",
            )
            .positional(&["container", "to"])
            .required("container", CONTAINER, "its name, its id, or the map that another primitive returned")
            .required("to", URL, "the log's address: `s3://BUCKET/KEY`, `file:///FOLDER/NAME` or `cloudwatch://GROUP/STREAM`; with a slash at the end a folder or a log group, where the name is made of container and run")
            .optional("overwrite", BOOL, "false", "replaces what is there, which is gone then; else a log stream is added to, and an object that is there is an error"),
            TRANSFER,
        )
        .returns("url, facts (the address of the `.json`), size, sha256")
        .undo("none: an archive outlives the run that made it; `object_prune` removes old ones")
        .errors(&[NotFound, NameTaken, Refused, Failed, MissingSecret, DiskFull])
        .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ncontainer_archive(\"web\", \"file:///var/log/web/\")"),
        reached(
            Primitive::of::<PruneObjects>(
                "Deletes the old ones of the objects whose address begins like this; what is in folders below is left alone.",
            )
            .positional(&["prefix"])
            .required("prefix", URL, "such as `s3://backups/app-`: folder and beginning of the names")
            .required("keep", INT, "the newest so many always stay")
            .optional("older_than", DURATION, "any age", "of the others, only those that are older are deleted"),
            ASK,
        )
        .returns("deleted (a list of addresses), kept (how many)")
        .undo("none: what is deleted is gone")
        .errors(&[NotFound, Refused, Failed, MissingSecret, DiskFull])
        .example("object_prune(\"file:///var/backups/app-\", #{keep: 7, older_than: \"30d\"})"),
    ]
}
