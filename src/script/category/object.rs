//! Objects on S3-compatible storage or in folders.

use super::{BOOL, CONTAINER, CONTAINER_DOC, DISPOSABLE, DURATION, INT, S3, S3_DOC, STRING, TIMEOUT, URL};
use crate::effect::ErrorKind::{DiskFull, Failed, MissingSecret, NameTaken, NotFound, Refused};
use crate::effect::object::{ArchiveContainer, DeleteObject, GetObject, ListObjects, PruneObjects, PutObject};
use crate::script::primitive::Primitive;

const ADDRESS: &str = "`s3://BUCKET/KEY` or `file:///FOLDER/NAME`";
const TRANSFER: &str = "\"15m\"";
const ASK: &str = "\"60s\"";

fn with_storage(primitive: Primitive, timeout: &'static str) -> Primitive {
    primitive.optional("s3", S3, "#{}", S3_DOC).optional("timeout", DURATION, timeout, TIMEOUT)
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        with_storage(
            Primitive::of::<PutObject>(
                "Stores a file on S3-compatible storage or in a folder. The object appears only when it is complete.",
            )
            .positional(&["path", "to"])
            .required("path", STRING, "local file")
            .required("to", URL, "`s3://BUCKET/KEY` or `file:///FOLDER/NAME`; if it ends with a slash, the file's name is appended")
            .optional("overwrite", BOOL, "false", "replace an existing object; the old one is lost"),
            TRANSFER,
        )
        .returns("url, size, sha256")
        .undo("deletes the object; a replaced object is not restored")
        .errors(&[NotFound, NameTaken, Refused, Failed, MissingSecret, DiskFull])
        .example("object_put(\"report.txt\", \"file:///var/backups/\")"),
        with_storage(
            Primitive::of::<GetObject>("Downloads an object into a file and verifies it.")
                .positional(&["url", "path"])
                .required("url", URL, ADDRESS)
                .required("path", STRING, "file to create; its folder must exist")
                .optional("overwrite", BOOL, "false", "replace an existing file; the old one is lost"),
            TRANSFER,
        )
        .returns("url, size, sha256")
        .undo("deletes the file; a replaced file is not restored")
        .errors(&[NotFound, NameTaken, Refused, Failed, MissingSecret, DiskFull])
        .example(
            "object_put(\"report.txt\", \"file:///var/backups/\");\nobject_get(\"file:///var/backups/report.txt\", \"again.txt\")",
        ),
        with_storage(
            Primitive::of::<ListObjects>("Lists the objects whose address starts with a prefix, including subfolders, by name.")
                .positional(&["prefix"])
                .required("prefix", URL, "`s3://BUCKET/PREFIX` or `file:///FOLDER/PREFIX`")
                .optional("limit", INT, "10000", "maximum number of objects"),
            ASK,
        )
        .returns("a list of url, name, size, modified_ms")
        .errors(&[NotFound, Refused, Failed, MissingSecret])
        .example("object_list(\"file:///var/backups/app-\")"),
        with_storage(
            Primitive::of::<DeleteObject>("Deletes one object.")
                .positional(&["url"])
                .required("url", URL, ADDRESS)
                .optional("missing_ok", BOOL, "false", "do nothing if the object does not exist")
                .optional("disposable", BOOL, "false", DISPOSABLE),
            ASK,
        )
        .returns("removed: whether the object existed")
        .undo("impossible: a run that fails later is stuck, unless the object is `disposable`")
        .errors(&[NotFound, Refused, Failed, MissingSecret, DiskFull])
        .example(
            "object_put(\"report.txt\", \"file:///var/backups/\");\nobject_delete(\"file:///var/backups/report.txt\")",
        ),
        with_storage(
            Primitive::of::<ArchiveContainer>(
                "Stores the whole log of a container and, next to it as `.json`, its metadata and its stats if it is running. In CloudWatch Logs, each line is an event with its own time, missing groups and streams are created, and the metadata is one event in a stream whose name ends with `.json`. Lines older than the retention of the group are sent with the current time and keep their own time in the text. A line can arrive twice after a failure.",
            )
            .positional(&["container", "to"])
            .required("container", CONTAINER, CONTAINER_DOC)
            .required("to", URL, "address of the log: `s3://BUCKET/KEY`, `file:///FOLDER/NAME` or `cloudwatch://GROUP/STREAM`; if it ends with a slash, it is a folder or log group, and a name of container and run is appended")
            .optional("overwrite", BOOL, "false", "replace what exists, which is lost; otherwise lines are appended to a log stream, and an existing object is an error"),
            TRANSFER,
        )
        .returns("url, facts (address of the `.json`), size, sha256")
        .undo("none: the archive is kept; `object_prune` removes old ones")
        .errors(&[NotFound, NameTaken, Refused, Failed, MissingSecret, DiskFull])
        .example("docker_run(#{name: \"web\", image: \"web:v1\"});\ncontainer_archive(\"web\", \"file:///var/log/web/\")"),
        with_storage(
            Primitive::of::<PruneObjects>(
                "Deletes old objects whose address starts with a prefix. Subfolders are left alone.",
            )
            .positional(&["prefix"])
            .required("prefix", URL, "folder and start of the names, such as `s3://backups/app-`")
            .required("keep", INT, "how many of the newest to keep")
            .optional("older_than", DURATION, "any age", "delete only objects older than this"),
            ASK,
        )
        .returns("deleted (a list of addresses), kept (a count)")
        .undo("impossible: the objects are gone")
        .errors(&[NotFound, Refused, Failed, MissingSecret, DiskFull])
        .example("object_prune(\"file:///var/backups/app-\", #{keep: 7, older_than: \"30d\"})"),
    ]
}
