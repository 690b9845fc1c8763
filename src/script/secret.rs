//! A secret in a script: a value that prints, compares and is stored as its name.

use rhai::{Dynamic, Engine, EvalAltResult, Position};
use serde_json::{Map, Value};

use crate::base::text::Text;

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
pub fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<SecretText>("Secret")
        .register_fn("+", |left: SecretText, right: SecretText| SecretText(left.0.join(right.0)))
        .register_fn("+", |left: SecretText, right: &str| SecretText(left.0.join(Text::plain(right))))
        .register_fn("+", |left: &str, right: SecretText| SecretText(Text::plain(left).join(right.0)))
        .register_fn("print", |secret: &mut SecretText| secret.0.to_string())
        .register_fn("debug", |secret: &mut SecretText| secret.0.to_string())
        .register_fn("to_string", |_: &mut SecretText| -> Result<String, Box<EvalAltResult>> {
            let message = "a secret cannot be put into a string by `${...}`; join it with `+`, which keeps it secret";
            Err(EvalAltResult::ErrorRuntime(Dynamic::from(message), Position::NONE).into())
        });
}
