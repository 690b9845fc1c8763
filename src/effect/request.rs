//! A request by its type, and the macro that describes one in a table.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Effect, EffectSpec};

/// A request by its type: its kind and the type of its reply. Implemented by `request!`.
pub trait Request: EffectSpec + Serialize + DeserializeOwned + Into<Effect> {
    /// The one label of this request, such as `docker_stop`: script function, journal kind and span name.
    const KIND: &'static str;

    /// What comes back.
    type Reply: Serialize + DeserializeOwned;
}

/// Implements [`EffectSpec`] and [`Request`] for a type from a table.
///
/// ```ignore
/// request! {
///     StopContainer {
///         kind: "docker_stop",
///         reply: Stopped,
///         access: Write,
///         recovery: Repeat,
///         deadline: |stop| stop.grace.0 + DEADLINE_MARGIN,
///         subject: container,
///         prior: |stop| Some(inspect(&stop.container)),
///         undo: |stop, prior| start_again(&stop.container, prior),
///         takes_down: |stop| TakesDown::Container(stop.container.clone()),
///     }
/// }
/// ```
///
/// `kind`, `reply`, `access` and `subject` are required, and `kind` and `reply` come first. The other rows may be left
/// out; [`EffectSpec`] says what applies then. A row is a method of [`EffectSpec`], and its value is a function that
/// takes the request (and the method's other arguments): a closure, or the path of a function. A function must not have
/// the name of its row. Some rows have a short form:
///
/// | row | short form | means |
/// |---|---|---|
/// | `access`, `recovery` | `Write`, `Repeat` | that variant, always |
/// | `interruptible`, `is_safety_check` | `true` | always |
/// | `deadline` | `timeout` | the field of that name, plus [`DEADLINE_MARGIN`](super::effect_spec::DEADLINE_MARGIN) |
/// | `subject` | `container` | the field of that name, displayed |
macro_rules! request {
    ($request:ident { kind: $kind:literal, reply: $reply:ty, $($rows:tt)+ }) => {
        impl $crate::effect::EffectSpec for $request {
            $crate::effect::request::request! { @rows $($rows)+ }
        }

        impl $crate::effect::Request for $request {
            const KIND: &'static str = $kind;
            type Reply = $reply;
        }
    };

    (@rows) => {};
    (@rows access: $access:ident, $($rest:tt)*) => {
        fn access(&self) -> $crate::effect::Access {
            $crate::effect::Access::$access
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows access: $access:expr, $($rest:tt)*) => {
        fn access(&self) -> $crate::effect::Access {
            let access: fn(&Self) -> $crate::effect::Access = $access;
            access(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows recovery: $recovery:ident, $($rest:tt)*) => {
        fn recovery(&self) -> $crate::effect::Recovery {
            $crate::effect::Recovery::$recovery
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows recovery: $recovery:expr, $($rest:tt)*) => {
        fn recovery(&self) -> $crate::effect::Recovery {
            let recovery: fn(&Self) -> $crate::effect::Recovery = $recovery;
            recovery(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows deadline: $field:ident, $($rest:tt)*) => {
        fn deadline(&self) -> std::time::Duration {
            self.$field.0 + $crate::effect::effect_spec::DEADLINE_MARGIN
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows deadline: $deadline:expr, $($rest:tt)*) => {
        fn deadline(&self) -> std::time::Duration {
            let deadline: fn(&Self) -> std::time::Duration = $deadline;
            deadline(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows interruptible: $interruptible:literal, $($rest:tt)*) => {
        fn interruptible(&self) -> bool {
            $interruptible
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows is_safety_check: $is_safety_check:literal, $($rest:tt)*) => {
        fn is_safety_check(&self) -> bool {
            $is_safety_check
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows subject: $field:ident, $($rest:tt)*) => {
        fn subject(&self) -> String {
            self.$field.to_string()
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows subject: $subject:expr, $($rest:tt)*) => {
        fn subject(&self) -> String {
            let subject: fn(&Self) -> String = $subject;
            subject(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows service: $service:expr, $($rest:tt)*) => {
        fn service(&self) -> Option<&str> {
            let service: fn(&Self) -> Option<&str> = $service;
            service(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows prior: $prior:expr, $($rest:tt)*) => {
        fn prior(&self) -> Option<$crate::effect::Effect> {
            let prior: fn(&Self) -> Option<$crate::effect::Effect> = $prior;
            prior(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows undo: $undo:expr, $($rest:tt)*) => {
        fn undo(&self, prior: Option<&$crate::effect::Outcome>) -> $crate::effect::Undo {
            let undo: fn(&Self, Option<&$crate::effect::Outcome>) -> $crate::effect::Undo = $undo;
            undo(self, prior)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows evidence: $evidence:expr, $($rest:tt)*) => {
        fn evidence(&self) -> Option<$crate::effect::Effect> {
            let evidence: fn(&Self) -> Option<$crate::effect::Effect> = $evidence;
            evidence(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows observe: $observe:expr, $($rest:tt)*) => {
        fn observe(
            &self,
            pending: $crate::effect::PendingEffect<'_>,
            evidence: &$crate::effect::Outcome,
        ) -> $crate::effect::Observation {
            let observe: fn(
                &Self,
                $crate::effect::PendingEffect<'_>,
                &$crate::effect::Outcome,
            ) -> $crate::effect::Observation = $observe;
            observe(self, pending, evidence)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows assumed_outcome: $assumed_outcome:expr, $($rest:tt)*) => {
        fn assumed_outcome(&self) -> Option<$crate::effect::Outcome> {
            let assumed_outcome: fn(&Self) -> Option<$crate::effect::Outcome> = $assumed_outcome;
            assumed_outcome(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows takes_down: $takes_down:expr, $($rest:tt)*) => {
        fn takes_down(&self) -> $crate::effect::TakesDown {
            let takes_down: fn(&Self) -> $crate::effect::TakesDown = $takes_down;
            takes_down(self)
        }
        $crate::effect::request::request! { @rows $($rest)* }
    };
    (@rows $unknown:ident: $($rest:tt)*) => {
        compile_error!(concat!("a request has no row `", stringify!($unknown), "` in this form"));
    };
}

pub(in crate::effect) use request;
