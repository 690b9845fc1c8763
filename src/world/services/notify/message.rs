//! The text of a notification, the same for all channels. Knows no channel.

use super::delivery_error::invalid;
use crate::effect::EffectError;
use crate::effect::notify::{Notify, NotifyEvent};
use crate::world::services::error_text::truncate;

/// A message before it is formatted for a channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub title: String,
    /// The sentence about the event, and the script's own message below it. May be empty.
    pub text: String,
    pub fields: Vec<(String, String)>,
    pub severity: Severity,
}

/// The colour of the message, in channels that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Neutral,
    Success,
    Failure,
    Warning,
}

impl Message {
    /// Builds the message of a request.
    ///
    /// # Errors
    /// `invalid` when it would be empty.
    pub(super) fn new(request: &Notify) -> Result<Self, EffectError> {
        let service = request.service.as_deref().unwrap_or("deploy");
        let release = request.release.as_ref().map_or_else(|| "the release".into(), |name| format!("release {name}"));
        let message = request.message.as_deref().unwrap_or_default();
        let (title, sentence, severity) = match request.event {
            NotifyEvent::Message => {
                let title = request.service.clone().unwrap_or_else(|| "deployer".into());
                (title, String::new(), Severity::Neutral)
            }
            NotifyEvent::Started => (format!("{service}: started"), format!("Deploying {release}."), Severity::Neutral),
            NotifyEvent::Succeeded => {
                (format!("{service}: done"), capitalized(&format!("{release} is live.")), Severity::Success)
            }
            NotifyEvent::Failed => {
                (format!("{service}: failed"), capitalized(&format!("{release} was not deployed.")), Severity::Failure)
            }
            NotifyEvent::RolledBack => (
                format!("{service}: rolled back"),
                capitalized(&format!("{release} was rolled back; the previous version is live again.")),
                Severity::Warning,
            ),
            NotifyEvent::Stuck => (
                format!("{service}: stuck"),
                capitalized(&format!("{release} could not be rolled back: an operator must act now.")),
                Severity::Failure,
            ),
        };
        let text =
            [sentence.as_str(), message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
        if text.is_empty() && request.fields.is_empty() {
            return Err(invalid("the message is empty: set `message`"));
        }
        let known = [("service", &request.service), ("release", &request.release)];
        let fields = known
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), value)))
            .chain(request.fields.iter().map(|(name, value)| (name.clone(), value.clone())))
            .collect();
        Ok(Self { title: one_line(&title), text, fields, severity })
    }

    /// Returns a copy that is short enough for every chat.
    pub(super) fn for_chat(&self) -> Self {
        let fields = self.fields.iter().take(FIELDS);
        let mut fields: Vec<_> =
            fields.map(|(name, value)| (truncate(&one_line(name), NAME), truncate(value, VALUE))).collect();
        if self.fields.len() > FIELDS {
            fields.push(("…".into(), format!("and {} more", self.fields.len() - FIELDS)));
        }
        let (title, text) = (truncate(&self.title, TITLE), truncate(&self.text, TEXT));
        Self { title, text, fields, severity: self.severity }
    }

    /// Returns the whole message as plain text.
    pub(super) fn plain(&self) -> String {
        let mut lines = vec![self.title.clone()];
        lines.extend(Some(self.text.clone()).filter(|text| !text.is_empty()));
        lines.extend(self.fields.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.join("\n")
    }
}

/// Most characters of a title. Slack's header takes 150, Discord's title 256.
const TITLE: usize = 120;
/// Most characters of the text. Discord takes 6000 in all.
const TEXT: usize = 1500;
/// Most fields. Slack takes 10 in a section.
const FIELDS: usize = 9;
/// Most characters of a field's name.
const NAME: usize = 60;
/// Most characters of a field's value.
const VALUE: usize = 240;

fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(value: serde_json::Value) -> Message {
        Message::new(&serde_json::from_value(value).unwrap()).unwrap()
    }

    #[test]
    fn every_event_has_a_sentence() {
        let texts: Vec<String> = ["started", "succeeded", "failed", "rolled_back", "stuck"]
            .iter()
            .map(|event| {
                message(json!({"channel": "slack", "event": event, "service": "web", "release": "v2"})).plain()
            })
            .collect();
        insta::assert_snapshot!(texts.join("\n\n"), @r"
        web: started
        Deploying release v2.
        service: web
        release: v2

        web: done
        Release v2 is live.
        service: web
        release: v2

        web: failed
        Release v2 was not deployed.
        service: web
        release: v2

        web: rolled back
        Release v2 was rolled back; the previous version is live again.
        service: web
        release: v2

        web: stuck
        Release v2 could not be rolled back: an operator must act now.
        service: web
        release: v2
        ");
    }

    #[test]
    fn the_scripts_message_stands_alone_or_below_the_sentence() {
        assert_eq!(message(json!({"channel": "slack", "message": "hello"})).plain(), "deployer\nhello");
        let failed = message(json!({"channel": "slack", "event": "failed", "message": "port taken"}));
        assert_eq!(failed.plain(), "deploy: failed\nThe release was not deployed.\nport taken");
        let nothing = serde_json::from_value(json!({"channel": "slack"})).unwrap();
        assert_eq!(Message::new(&nothing).unwrap_err().kind, crate::effect::ErrorKind::Invalid);
    }

    #[test]
    fn a_chat_message_stays_below_the_limits() {
        let fields: std::collections::BTreeMap<String, String> =
            (0..30).map(|number| (format!("n{number:02}"), "v".repeat(1000))).collect();
        let long = message(json!({"channel": "slack", "message": "m".repeat(9000), "fields": fields})).for_chat();
        let size: usize = long.plain().chars().count();
        assert!(size < 4500, "{size}");
        assert_eq!(long.fields.last().unwrap().1, "and 21 more");
    }
}
