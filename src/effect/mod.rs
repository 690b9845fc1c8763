//! The effects: every action that a script can request from a world, as plain data.
//!
//! One file or folder per category holds its requests, its replies and, for each request, what the gateway must know:
//! access, recovery, deadline, undo. Checks and errors that every world needs are here too, so that they exist once.
//! No I/O, no script engine, no client crate. The enums are closed: when you add a request, the compiler leads you to
//! every world that must perform it.

pub mod approval;
mod category;
pub mod compose;
pub mod container;
pub mod effect_spec;
pub mod error;
pub mod exec;
pub mod fault;
pub mod git;
pub mod health;
pub mod host;
pub mod http;
pub mod image;
pub mod load;
pub mod lock;
pub mod network;
pub mod notify;
pub mod object;
mod request;
pub mod sqlite;
pub mod time;
pub mod traffic;
pub mod volume;

use serde_json::Value;

pub use effect_spec::{Access, EffectSpec, Observation, PendingEffect, Recovery, TakesDown, Undo};
pub use error::{Applied, EffectError, ErrorKind};
pub use request::Request;

category::categories! {
    Container(container::ContainerEffect => container::ContainerOutcome),
    Image(image::ImageEffect => image::ImageOutcome),
    Volume(volume::VolumeEffect => volume::VolumeOutcome),
    Network(network::NetworkEffect => network::NetworkOutcome),
    Compose(compose::ComposeEffect => compose::ComposeOutcome),
    Health(health::HealthEffect => health::HealthOutcome),
    Http(http::HttpEffect => http::HttpOutcome),
    Git(git::GitEffect => git::GitOutcome),
    Sqlite(sqlite::SqliteEffect => sqlite::SqliteOutcome),
    Object(object::ObjectEffect => object::ObjectOutcome),
    Notify(notify::NotifyEffect => notify::NotifyOutcome),
    Exec(exec::ExecEffect => exec::ExecOutcome),
    Host(host::HostEffect => host::HostOutcome),
    Time(time::TimeEffect => time::TimeOutcome),
    Approval(approval::ApprovalEffect => approval::ApprovalOutcome),
    Lock(lock::LockEffect => lock::LockOutcome),
    Traffic(traffic::TrafficEffect => traffic::TrafficOutcome),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_category_verb_and_unique() {
        let mut kinds = Effect::kinds();
        assert!(kinds.len() > 45, "{}", kinds.len());
        assert!(kinds.iter().all(|kind| kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        kinds.sort_unstable();
        let count = kinds.len();
        kinds.dedup();
        assert_eq!(kinds.len(), count);
    }

    #[test]
    fn effects_are_read_back_from_their_journal_form() {
        let effect: Effect = container::StopContainer {
            container: "web".into(),
            grace: crate::base::duration_text::DurationText::secs(10),
            signal: None,
            missing_ok: false,
        }
        .into();
        assert_eq!(effect.kind(), "docker_stop");
        let back = Effect::decode(effect.kind(), effect.args()).unwrap();
        assert_eq!(back, effect);
        assert!(Effect::decode("docker_fly", Value::Null).is_err());
    }
}
