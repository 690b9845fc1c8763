//! The two macros that build the closed enums from a table, so that each request is listed once.

/// Declares one category: the enum of its effects, the enum of its outcomes, and their conversion to and from the
/// journal.
macro_rules! category {
    (
        $(#[$doc:meta])*
        $category:ident: $effect:ident => $outcome:ident { $($variant:ident($request:ty)),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $effect {
            $(#[doc = concat!("See [`", stringify!($request), "`].")] $variant(Box<$request>)),+
        }

        #[doc = concat!("The outcome of a [`", stringify!($effect), "`].")]
        #[derive(Clone, Debug, PartialEq)]
        pub enum $outcome {
            $(#[doc = concat!("The reply to [`", stringify!($request), "`].")]
            $variant(<$request as $crate::effect::Request>::Reply)),+
        }

        impl $effect {
            pub(in crate::effect) const KINDS: &'static [&'static str] =
                &[$(<$request as $crate::effect::Request>::KIND),+];

            /// Returns the kind of the request, such as `docker_run`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$request as $crate::effect::Request>::KIND),+ }
            }

            /// Returns what the gateway must know of the request.
            pub fn spec(&self) -> &dyn $crate::effect::EffectSpec {
                match self { $(Self::$variant(request) => request.as_ref()),+ }
            }

            pub(in crate::effect) fn args(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Self::$variant(request) => serde_json::to_value(request)),+ }
            }

            pub(in crate::effect) fn decode(kind: &str, args: serde_json::Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $(<$request as $crate::effect::Request>::KIND =>
                        serde_json::from_value(args).map(|request| Self::$variant(Box::new(request))),)+
                    _ => Err(serde::de::Error::custom(format!("unknown effect kind `{kind}`"))),
                }
            }
        }

        impl $outcome {
            pub(in crate::effect) fn value(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Self::$variant(reply) => serde_json::to_value(reply)),+ }
            }

            pub(in crate::effect) fn decode(kind: &str, value: serde_json::Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $(<$request as $crate::effect::Request>::KIND => serde_json::from_value(value).map(Self::$variant),)+
                    _ => Err(serde::de::Error::custom(format!("unknown effect kind `{kind}`"))),
                }
            }
        }

        $(impl From<$request> for $crate::effect::Effect {
            fn from(request: $request) -> Self {
                Self::$category($effect::$variant(Box::new(request)))
            }
        })+
    };
}

/// Declares [`Effect`] and [`Outcome`](super::Outcome) from all categories.
macro_rules! categories {
    ($($category:ident($effect:ty => $outcome:ty)),+ $(,)?) => {
        /// Any action that a script can request from a world.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Effect { $(#[doc = concat!("See [`", stringify!($effect), "`].")] $category($effect)),+ }

        /// The result of an [`Effect`].
        #[derive(Clone, Debug, PartialEq)]
        pub enum Outcome { $(#[doc = concat!("See [`", stringify!($outcome), "`].")] $category($outcome)),+ }

        impl Effect {
            /// Returns every kind. A kind is also the name of the script function, of the journal entry and of the span.
            pub fn kinds() -> Vec<&'static str> {
                [$(<$effect>::KINDS),+].concat()
            }

            /// Returns the kind of this effect, such as `docker_run`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$category(effect) => effect.kind()),+ }
            }

            /// Returns what the gateway must know of this effect.
            pub fn spec(&self) -> &dyn EffectSpec {
                match self { $(Self::$category(effect) => effect.spec()),+ }
            }

            /// Returns the arguments as the journal stores them: every option, with defaults filled in and secrets as names.
            pub fn args(&self) -> Value {
                match self { $(Self::$category(effect) => effect.args()),+ }.unwrap_or(Value::Null)
            }

            /// Reads an effect from its journal form.
            ///
            /// # Errors
            /// Fails if the kind is unknown or the arguments do not fit it, as in a journal of another version.
            pub fn decode(kind: &str, args: Value) -> Result<Self, serde_json::Error> {
                $(if <$effect>::KINDS.contains(&kind) {
                    return <$effect>::decode(kind, args).map(Self::$category);
                })+
                Err(serde::de::Error::custom(format!("unknown effect kind `{kind}`")))
            }
        }

        impl Outcome {
            /// Returns the reply as the script and the journal see it.
            pub fn value(&self) -> Value {
                match self { $(Self::$category(outcome) => outcome.value()),+ }.unwrap_or(Value::Null)
            }

            /// Reads the outcome of an effect of this kind from its journal form.
            ///
            /// # Errors
            /// Fails if the kind is unknown or the value does not fit it.
            pub fn decode(kind: &str, value: Value) -> Result<Self, serde_json::Error> {
                $(if <$effect>::KINDS.contains(&kind) {
                    return <$outcome>::decode(kind, value).map(Self::$category);
                })+
                Err(serde::de::Error::custom(format!("unknown effect kind `{kind}`")))
            }
        }
    };
}

pub(in crate::effect) use {categories, category};
