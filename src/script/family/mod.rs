//! The primitives, one file per family: what each is called, takes, returns, how it is taken back, and an example.

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

// The types of options, as documentation names them.
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

const S3_DOC: &str = "endpoint, region, access_key, secret_key, session_token; what is left out comes from the environment, the profile in `~/.aws` or the role of the machine";
const NO_TIMEOUT_HARM: &str = "after which it fails";

const IDEMPOTENT: &str = "doing it twice does no harm: `deployer resume` does it again when it cannot know";
const DONE_WHEN: &str = "a command that ends with 0 once this is done: what `deployer resume` asks";

/// All of them.
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
