//! The primitives, one file per category: name, options, return value, undo and an example of each.

mod approval;
mod compose;
mod container;
mod exec;
mod git;
mod health;
mod host;
mod http;
mod image;
mod lock;
mod network;
mod notify;
mod object;
mod sqlite;
mod time;
mod traffic;
mod volume;

use super::primitive::Primitive;

// Names of option types, as the documentation shows them.
const CONTAINER: &str = "container";
const STRING: &str = "string";
const INT: &str = "int";
const BOOL: &str = "bool";
const FLOAT: &str = "float";
const DURATION: &str = "duration";
const SIZE: &str = "size";
const MAP: &str = "map";
const LIST: &str = "list";
const URL: &str = "string";
const S3: &str = "map";
const SECRET: &str = "string or secret";

const S3_DOC: &str = "endpoint, region, access_key, secret_key, session_token; missing ones come from the environment, the profile in `~/.aws` or the machine's role";
const TIMEOUT: &str = "time limit; the call then fails";

const IDEMPOTENT: &str = "safe to repeat: `deployer resume` runs it again if its outcome is unknown";
const DONE_WHEN: &str = "command that exits with 0 once this is done; `deployer resume` runs it to find out";
const CONTAINER_DOC: &str = "name, id, or the map that another primitive returned";
const DISPOSABLE: &str = "a rollback can do without it";

/// Returns all primitives, in the order of the reference.
pub fn all() -> Vec<Primitive> {
    [
        container::primitives(),
        image::primitives(),
        volume::primitives(),
        network::primitives(),
        compose::primitives(),
        health::primitives(),
        http::primitives(),
        git::primitives(),
        sqlite::primitives(),
        object::primitives(),
        notify::primitives(),
        exec::primitives(),
        host::primitives(),
        time::primitives(),
        approval::primitives(),
        lock::primitives(),
        traffic::primitives(),
    ]
    .concat()
}
