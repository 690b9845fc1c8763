//! The two macros that make the closed enums from a table, so that a kind is written down once.

/// One family: the enum of its effects, the enum of its outcomes, and the way between them and the journal.
macro_rules! family {
    (
        $(#[$doc:meta])*
        $family:ident: $effect:ident => $outcome:ident { $($variant:ident($request:ty)),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $effect { $($variant(Box<$request>)),+ }

        #[doc = concat!("What comes back from a [`", stringify!($effect), "`].")]
        #[derive(Clone, Debug, PartialEq)]
        pub enum $outcome { $($variant(<$request as $crate::effect::Request>::Reply)),+ }

        impl $effect {
            pub(in crate::effect) const KINDS: &'static [&'static str] =
                &[$(<$request as $crate::effect::Request>::KIND),+];

            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$request as $crate::effect::Request>::KIND),+ }
            }

            pub fn facts(&self) -> &dyn $crate::effect::Facts {
                match self { $(Self::$variant(request) => request.as_ref()),+ }
            }

            pub(in crate::effect) fn args(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Self::$variant(request) => serde_json::to_value(request)),+ }
            }

            pub(in crate::effect) fn decode(kind: &str, args: serde_json::Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $(<$request as $crate::effect::Request>::KIND =>
                        serde_json::from_value(args).map(|request| Self::$variant(Box::new(request))),)+
                    _ => Err(serde::de::Error::custom(format!("unknown kind of effect `{kind}`"))),
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
                    _ => Err(serde::de::Error::custom(format!("unknown kind of effect `{kind}`"))),
                }
            }
        }

        $(impl From<$request> for $crate::effect::Effect {
            fn from(request: $request) -> Self {
                Self::$family($effect::$variant(Box::new(request)))
            }
        })+
    };
}

/// All families together.
macro_rules! families {
    ($($family:ident($effect:ty => $outcome:ty)),+ $(,)?) => {
        /// Anything that a script can ask a world for.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Effect { $($family($effect)),+ }

        /// What came back.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Outcome { $($family($outcome)),+ }

        impl Effect {
            /// Every kind there is: the name of the script function, of the journal's kind, of the span.
            pub fn kinds() -> Vec<&'static str> {
                [$(<$effect>::KINDS),+].concat()
            }

            /// The one label of this effect, such as `docker_run`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$family(effect) => effect.kind()),+ }
            }

            /// What the gateway must know of it.
            pub fn facts(&self) -> &dyn Facts {
                match self { $(Self::$family(effect) => effect.facts()),+ }
            }

            /// The arguments as the journal stores them: every option, defaults filled in, secrets as names.
            pub fn args(&self) -> Value {
                match self { $(Self::$family(effect) => effect.args()),+ }.unwrap_or(Value::Null)
            }

            /// Reads an effect back from its journal form.
            ///
            /// # Errors
            /// When the kind is unknown or the arguments do not fit it (a journal of another version).
            pub fn decode(kind: &str, args: Value) -> Result<Self, serde_json::Error> {
                $(if <$effect>::KINDS.contains(&kind) {
                    return <$effect>::decode(kind, args).map(Self::$family);
                })+
                Err(serde::de::Error::custom(format!("unknown kind of effect `{kind}`")))
            }
        }

        impl Outcome {
            /// The reply as the script and the journal see it.
            pub fn value(&self) -> Value {
                match self { $(Self::$family(outcome) => outcome.value()),+ }.unwrap_or(Value::Null)
            }

            /// Reads an outcome of an effect of this kind back from its journal form.
            ///
            /// # Errors
            /// When the kind is unknown or the value does not fit it.
            pub fn decode(kind: &str, value: Value) -> Result<Self, serde_json::Error> {
                $(if <$effect>::KINDS.contains(&kind) {
                    return <$outcome>::decode(kind, value).map(Self::$family);
                })+
                Err(serde::de::Error::custom(format!("unknown kind of effect `{kind}`")))
            }
        }
    };
}

pub(in crate::effect) use {families, family};
