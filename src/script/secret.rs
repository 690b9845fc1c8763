//! A secret in a script: a value that prints, compares and is stored as its name.

use std::sync::Arc;

use rhai::{Engine, NativeCallContext};
use serde_json::{Map, Value};

use super::host::{Halt, Host, Rhai};
use crate::base::text::Text;
use crate::effect::{EffectError, ErrorKind};

/// Text with secrets in it, as `secret("NAME")` returns it. Joined to other text by `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretText(pub Text);

impl SecretText {
    /// Reads the form in which a secret text stands in JSON.
    pub fn from_json(map: &Map<String, Value>) -> Option<Self> {
        if map.len() != 1 || !map.contains_key("secret_text") {
            return None;
        }
        serde_json::from_value(Value::Object(map.clone())).ok().map(Self)
    }
}

/// Lets scripts join secrets with text and print them; everything else is refused.
pub fn register(engine: &mut Engine, host: &Arc<Host>) {
    let host = host.clone();
    engine
        .register_type_with_name::<SecretText>("Secret")
        .register_fn("+", |left: SecretText, right: SecretText| SecretText(left.0.join(right.0)))
        .register_fn("+", |left: SecretText, right: &str| SecretText(left.0.join(Text::plain(right))))
        .register_fn("+", |left: &str, right: SecretText| SecretText(Text::plain(left).join(right.0)))
        .register_fn("print", |secret: &mut SecretText| secret.0.to_string())
        .register_fn("debug", |secret: &mut SecretText| secret.0.to_string())
        // Rhai swallows an error of this one and would go on with the name of the type in place of the secret.
        .register_fn("to_string", move |context: NativeCallContext, _: &mut SecretText| -> Rhai<String> {
            let message = "a secret cannot be put into a string by `${...}`";
            let error = EffectError::new(ErrorKind::Invalid, message)
                .hint("join it with `+`, which keeps it secret: \"Bearer \" + token")
                .not_applied();
            Err(host.halt(Halt::Fatal(error), context.call_position()))
        });
}
