//! What scripts can do with a secret: join it with text and print its name.

use rhai::{Engine, Module, NativeCallContext};

use super::functions::{Functions, host};
use super::host::{Halt, Rhai};
use super::secret_text::SecretText;
use crate::base::text::Text;
use crate::effect::{EffectError, ErrorKind};

/// Registers joining and printing. Every other operation on a secret is an error.
pub fn register(module: &mut Module) {
    module
        .add("+", |left: SecretText, right: SecretText| SecretText(left.0.join(right.0)))
        .add("+", |left: SecretText, right: &str| SecretText(left.0.join(Text::plain(right))))
        .add("+", |left: &str, right: SecretText| SecretText(Text::plain(left).join(right.0)))
        .add("print", |secret: &mut SecretText| secret.0.to_string())
        .add("debug", |secret: &mut SecretText| secret.0.to_string())
        // Rhai ignores an error of `to_string` and continues with the name of the type, so the script is halted.
        .add("to_string", |context: NativeCallContext, _: &mut SecretText| -> Rhai<String> {
            let message = "a secret cannot be interpolated with `${...}`";
            let error = EffectError::new(ErrorKind::Invalid, message)
                .hint("join it with `+`, which keeps it secret: \"Bearer \" + token")
                .not_applied();
            Err(host(&context)?.halt(Halt::Fatal(error), context.call_position()))
        });
}

/// Names the type in Rhai's messages.
pub fn name_type(engine: &mut Engine) {
    engine.register_type_with_name::<SecretText>("Secret");
}
