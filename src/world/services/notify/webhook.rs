//! Builds the payload of a plain webhook: all parts as JSON, and the whole message as one text.

use serde_json::{Value, json};

use super::message::Message;
use crate::effect::notify::Notify;

/// Returns `{event, service, release, message, fields, text}`. Parts that the script did not set are null.
pub(super) fn payload(request: &Notify, message: &Message) -> Value {
    json!({
        "event": request.event,
        "service": request.service,
        "release": request.release,
        "message": request.message,
        "fields": request.fields,
        "text": message.plain(),
    })
}
