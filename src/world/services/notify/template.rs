//! What a notification says, as plain text; the receivers' files only dress it. Knows no receiver.

use crate::effect::EffectError;
use crate::effect::notify::{Notify, NotifyEvent};

/// The message before it is dressed for a receiver.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub title: String,
    /// The sentence, and the script's own words below it; may be empty.
    pub text: String,
    pub fields: Vec<(String, String)>,
    pub mood: Mood,
}

/// How it feels: the colour, where a receiver has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Neutral,
    Good,
    Bad,
    Warning,
}

impl Message {
    /// # Errors
    /// `invalid` when there is nothing to tell.
    pub(super) fn of(request: &Notify) -> Result<Self, EffectError> {
        let service = request.service.as_deref().unwrap_or("deploy");
        let release = request.release.as_ref().map_or_else(|| "the release".into(), |name| format!("release {name}"));
        let own = request.message.as_deref().unwrap_or_default();
        let (title, sentence, mood) = match request.event {
            NotifyEvent::Message => {
                let title = request.service.clone().unwrap_or_else(|| "deployer".into());
                (title, String::new(), Mood::Neutral)
            }
            NotifyEvent::Started => (format!("{service}: started"), format!("Deploying {release}."), Mood::Neutral),
            NotifyEvent::Succeeded => (format!("{service}: done"), capital(&format!("{release} is live.")), Mood::Good),
            NotifyEvent::Failed => {
                (format!("{service}: failed"), capital(&format!("{release} was not deployed.")), Mood::Bad)
            }
            NotifyEvent::RolledBack => (
                format!("{service}: rolled back"),
                capital(&format!("{release} was taken back; what ran before is live again.")),
                Mood::Warning,
            ),
            NotifyEvent::Stuck => (
                format!("{service}: stuck"),
                capital(&format!("{release} could not be taken back: a person must look at it now.")),
                Mood::Bad,
            ),
        };
        let text = [sentence.as_str(), own].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
        if text.is_empty() && request.fields.is_empty() {
            return Err(super::invalid("there is nothing to tell: give `message`"));
        }
        let known = [("service", &request.service), ("release", &request.release)];
        let fields = known
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), value)))
            .chain(request.fields.iter().map(|(name, value)| (name.clone(), value.clone())))
            .collect();
        Ok(Self { title: one_line(&title), text, fields, mood })
    }

    /// Cut to what a chat takes: with these bounds no receiver's own limit is reached.
    pub(super) fn for_chat(&self) -> Self {
        let clip = super::clip;
        let shown = self.fields.iter().take(FIELDS);
        let mut fields: Vec<_> = shown.map(|(name, value)| (clip(&one_line(name), NAME), clip(value, VALUE))).collect();
        if self.fields.len() > FIELDS {
            fields.push(("…".into(), format!("and {} more", self.fields.len() - FIELDS)));
        }
        Self { title: clip(&self.title, TITLE), text: clip(&self.text, TEXT), fields, mood: self.mood }
    }

    /// All of it as plain text.
    pub(super) fn plain(&self) -> String {
        let mut lines = vec![self.title.clone()];
        lines.extend(Some(self.text.clone()).filter(|text| !text.is_empty()));
        lines.extend(self.fields.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.join("\n")
    }
}

/// Slack's header takes 150 characters, Discord's title 256.
const TITLE: usize = 120;
/// Discord takes 6000 characters in all.
const TEXT: usize = 1500;
/// Slack takes 10 fields in a section.
const FIELDS: usize = 9;
const NAME: usize = 60;
const VALUE: usize = 240;

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(value: serde_json::Value) -> Message {
        Message::of(&serde_json::from_value(value).unwrap()).unwrap()
    }

    #[test]
    fn every_event_has_its_words() {
        let told: Vec<String> = ["started", "succeeded", "failed", "rolled_back", "stuck"]
            .iter()
            .map(|event| {
                message(json!({"channel": "slack", "event": event, "service": "web", "release": "v2"})).plain()
            })
            .collect();
        insta::assert_snapshot!(told.join("\n\n"), @r"
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
        Release v2 was taken back; what ran before is live again.
        service: web
        release: v2

        web: stuck
        Release v2 could not be taken back: a person must look at it now.
        service: web
        release: v2
        ");
    }

    #[test]
    fn own_words_stand_alone_or_below() {
        assert_eq!(message(json!({"channel": "slack", "message": "hello"})).plain(), "deployer\nhello");
        let failed = message(json!({"channel": "slack", "event": "failed", "message": "port taken"}));
        assert_eq!(failed.plain(), "deploy: failed\nThe release was not deployed.\nport taken");
        let nothing = serde_json::from_value(json!({"channel": "slack"})).unwrap();
        assert_eq!(Message::of(&nothing).unwrap_err().kind, crate::effect::ErrorKind::Invalid);
    }

    #[test]
    fn a_chat_gets_no_more_than_it_takes() {
        let fields: std::collections::BTreeMap<String, String> =
            (0..30).map(|number| (format!("n{number:02}"), "v".repeat(1000))).collect();
        let long = message(json!({"channel": "slack", "message": "m".repeat(9000), "fields": fields})).for_chat();
        let size: usize = long.plain().chars().count();
        assert!(size < 4500, "{size}");
        assert_eq!(long.fields.last().unwrap().1, "and 21 more");
    }
}
