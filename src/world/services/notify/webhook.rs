//! Any receiver of JSON: the parts as they are, and all of it as one text.

use serde_json::{Value, json};

use super::template::Message;
use crate::effect::notify::Notify;

/// `{event, service, release, message, fields, text}`; what the script did not give is null.
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
