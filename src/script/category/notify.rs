//! Notifications.

use super::{DURATION, LIST, MAP, SECRET, STRING};
use crate::effect::ErrorKind::{Failed, MissingSecret, Refused};
use crate::effect::notify::Notify;
use crate::script::primitive::Primitive;

pub fn primitives() -> Vec<Primitive> {
    vec![
        Primitive::of::<Notify>(
            "Sends a notification. A failed delivery is reported in the result and does not fail the run.",
        )
        .required("channel", STRING, "\"slack\", \"discord\", \"teams\", \"webhook\" or \"email\"")
        .optional("url", SECRET, "none", "URL of the webhook; needed for every channel but email")
        .optional(
            "event",
            STRING,
            "\"message\"",
            "\"started\", \"succeeded\", \"failed\", \"rolled_back\", \"stuck\" or \"message\"; selects the template",
        )
        .optional("service", STRING, "none", "name of the service")
        .optional("release", STRING, "none", "image or commit")
        .optional("message", STRING, "the template's", "additional text")
        .optional("fields", MAP, "#{}", "additional fields: name and value")
        .optional("smtp", STRING, "none", "mail server as HOST:PORT")
        .optional("smtp_security", STRING, "\"starttls\"", "\"starttls\", \"tls\" or \"none\"")
        .optional("username", SECRET, "none", "user of the mail server")
        .optional("password", SECRET, "none", "password of the mail server")
        .optional("from", STRING, "none", "address of the sender")
        .optional("to", LIST, "[]", "addresses of the recipients")
        .optional("timeout", DURATION, "\"10s\"", "time limit; the delivery then counts as failed")
        .returns("delivered, error")
        .undo("none: a sent message cannot be recalled")
        .errors(&[Refused, Failed, MissingSecret])
        .example(
            "notify(#{channel: \"webhook\", url: \"http://localhost:9/hook\", event: \"succeeded\", service: \"web\"})",
        ),
    ]
}
