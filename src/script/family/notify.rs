//! Notifications.

use super::{DURATION, LIST, MAP, SECRET, STRING};
use crate::effect::ErrorKind::{Failed, MissingSecret, Refused};
use crate::effect::notify::Notify;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<Notify>(
            "Sends a message to people. One that fails never fails the run: the failure is in the reply.",
        )
        .required("channel", STRING, "\"slack\", \"discord\", \"teams\", \"webhook\" or \"email\"")
        .optional("url", SECRET, "none", "of the webhook; needed for all but email")
        .optional(
            "event",
            STRING,
            "\"message\"",
            "\"started\", \"succeeded\", \"failed\", \"rolled_back\", \"stuck\" or \"message\": chooses the template",
        )
        .optional("service", STRING, "none", "what is being deployed")
        .optional("release", STRING, "none", "the image or commit")
        .optional("message", STRING, "the template's", "more to say")
        .optional("fields", MAP, "#{}", "more to show, name and value")
        .optional("smtp", STRING, "none", "mail server, HOST:PORT")
        .optional("smtp_security", STRING, "\"starttls\"", "\"starttls\", \"tls\" or \"none\"")
        .optional("username", SECRET, "none", "of the mail server")
        .optional("password", SECRET, "none", "of the mail server")
        .optional("from", STRING, "none", "the sender's address")
        .optional("to", LIST, "[]", "the receivers' addresses")
        .optional("timeout", DURATION, "\"10s\"", "after which it counts as failed")
        .returns("delivered, error")
        .undo("none: people have read it")
        .errors(&[Refused, Failed, MissingSecret])
        .example(
            "notify(#{channel: \"webhook\", url: \"http://localhost:9/hook\", event: \"succeeded\", service: \"web\"})",
        ),
    ]
}
