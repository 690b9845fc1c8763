//! A secret in a script: a value that prints, compares and is stored as its name.

use rhai::{Engine, Module, NativeCallContext};
use serde_json::{Map, Value};

use super::functions::{Functions, host};
use super::host::{Halt, Rhai};
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
pub fn register(module: &mut Module) {
    module
        .add("+", |left: SecretText, right: SecretText| SecretText(left.0.join(right.0)))
        .add("+", |left: SecretText, right: &str| SecretText(left.0.join(Text::plain(right))))
        .add("+", |left: &str, right: SecretText| SecretText(Text::plain(left).join(right.0)))
        .add("print", |secret: &mut SecretText| secret.0.to_string())
        .add("debug", |secret: &mut SecretText| secret.0.to_string())
        // Rhai swallows an error of this one and would go on with the name of the type in place of the secret.
        .add("to_string", |context: NativeCallContext, _: &mut SecretText| -> Rhai<String> {
            let message = "a secret cannot be put into a string by `${...}`";
            let error = EffectError::new(ErrorKind::Invalid, message)
                .hint("join it with `+`, which keeps it secret: \"Bearer \" + token")
                .not_applied();
            Err(host(&context)?.halt(Halt::Fatal(error), context.call_position()))
        });
}

/// What messages call it.
pub fn name_type(engine: &mut Engine) {
    engine.register_type_with_name::<SecretText>("Secret");
}
