//! How services stand, as text: blocks that fit the terminal, plain lines, or JSON. Knows what was found and no engine.

use serde_json::json;

use super::Format;
use super::history::ago;
use super::layout::{Paint, Tone, between, columns, one_line, wrap};
use crate::effect::traffic::Listed;
use crate::run::census::standing::{Instance, Orphan, Role, Service, Standing, state_word};

/// Columns of the word in front of what is said.
const WORD: usize = 10;
/// Characters of an image's id and of a commit that people compare.
const SHORT: usize = 12;

/// What is shown, and on what.
pub struct StandingText<'a> {
    pub standing: &'a Standing,
    /// Milliseconds since 1970, UTC.
    pub now_ms: i64,
    pub width: usize,
    pub colour: bool,
}

impl StandingText<'_> {
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Json => format!("{}\n", json!(self.standing)),
            Format::Plain => self.lines(),
            Format::Pretty => self.blocks(),
        }
    }

    fn blocks(&self) -> String {
        let paint = Paint { colour: self.colour };
        let mut text = String::new();
        for service in &self.standing.services {
            let (tone, verdict) = self.verdict(service);
            let gap = self.width.saturating_sub(columns(&service.service) + columns(verdict)).clamp(2, 40);
            let name = paint.on(Tone::Strong, &one_line(&service.service));
            text += &format!("{name}{}{}\n", " ".repeat(gap), paint.on(tone, verdict));
            for instance in &service.instances {
                let tone = role_tone(instance.role);
                text += &self.part(tone, instance.role.word(), &self.first_line(instance));
                text += &self.part(Tone::Plain, "", &second_line(instance));
            }
            if let Some(route) = &service.route {
                text += &self.part(Tone::Plain, "route", &route_line(route));
            }
            if let Some(lock) = &service.lock {
                text += &self.part(Tone::Warn, "lock", &self.lock(lock));
            }
            for sentence in &service.attention {
                text += &self.part(Tone::Bad, "act", sentence);
            }
        }
        let unfinished: Vec<String> = self.standing.unfinished.iter().filter_map(|run| run.what_to_do()).collect();
        for sentence in &unfinished {
            text += &self.part(Tone::Bad, "act", sentence);
        }
        if !self.standing.orphans.is_empty() {
            text += &format!("{}\n", paint.on(Tone::Strong, "orphaned"));
        }
        for orphan in &self.standing.orphans {
            text += &self.part(Tone::Quiet, orphan.kind, &orphan_text(orphan));
        }
        if text.is_empty() {
            text = self.nothing();
        }
        text
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for service in &self.standing.services {
            let name = &service.service;
            for instance in &service.instances {
                let role = instance.role.word();
                text += &format!("{name} {role}: {}; {}\n", self.first_line(instance), second_line(instance));
            }
            if let Some(route) = &service.route {
                text += &format!("{name} route: {}\n", route_line(route));
            }
            if let Some(lock) = &service.lock {
                text += &format!("{name} lock: {}\n", self.lock(lock));
            }
            for sentence in &service.attention {
                text += &format!("{name} act: {sentence}\n");
            }
            if service.attention.is_empty() {
                text += &format!("{name} {}\n", self.verdict(service).1);
            }
        }
        for sentence in self.standing.unfinished.iter().filter_map(|run| run.what_to_do()) {
            text += &format!("act: {sentence}\n");
        }
        for orphan in &self.standing.orphans {
            text += &format!("orphaned {}: {}\n", orphan.kind, orphan_text(orphan));
        }
        if text.is_empty() { self.nothing() } else { text.lines().map(|line| one_line(line) + "\n").collect() }
    }

    fn nothing(&self) -> String {
        format!("no service of deployer's on {}\n", one_line(&self.standing.address))
    }

    fn verdict(&self, service: &Service) -> (Tone, &'static str) {
        let at_work = service.lock.as_ref().is_some_and(|lock| !lock.is_dead());
        match service.attention.is_empty() {
            true if at_work => (Tone::Strong, "a run is at work"),
            true => (Tone::Good, "well"),
            false => (Tone::Bad, "needs you"),
        }
    }

    /// A word, and text beside it that stays in its columns.
    fn part(&self, tone: Tone, word: &str, said: &str) -> String {
        let room = self.width.saturating_sub(WORD + 2).max(20);
        let mut text = String::new();
        for (at, line) in wrap(&one_line(said), room).iter().enumerate() {
            let word = if at == 0 { word } else { "" };
            let pad = " ".repeat(WORD.saturating_sub(columns(word)));
            let word = Paint { colour: self.colour }.on(tone, word);
            text += format!("  {word}{pad}{line}").trim_end();
            text.push('\n');
        }
        text
    }

    fn first_line(&self, instance: &Instance) -> String {
        let state = match (instance.health.as_deref(), instance.exit_code) {
            (Some(health), _) => format!("{} ({health})", state_word(instance.state)),
            (None, Some(code)) => format!("{} ({code})", state_word(instance.state)),
            (None, None) => state_word(instance.state).to_owned(),
        };
        let since = instance.since.as_deref().map_or_else(String::new, |at| format!(", since {}", self.since(at)));
        let published = instance.published.iter().map(|port| format!(", {port}")).collect::<String>();
        format!("{} {state}{since}{published}", instance.name)
    }

    fn since(&self, at: &str) -> String {
        match at.parse::<jiff::Timestamp>() {
            Ok(at) => ago(between(at.as_millisecond(), self.now_ms)),
            Err(_) => at.to_owned(),
        }
    }

    fn lock(&self, lock: &crate::effect::lock::HeldLock) -> String {
        let since = lock.since().as_deref().map_or_else(String::new, |at| format!(", since {}", self.since(at)));
        let gone = if lock.is_dead() { ", which is gone" } else { "" };
        format!("run {}, process {} on {}{gone}{since}", lock.holder.run, lock.holder.pid, lock.holder.host)
    }
}

fn role_tone(role: Role) -> Tone {
    match role {
        Role::Live | Role::Replica | Role::Warm => Tone::Good,
        Role::Candidate => Tone::Strong,
        Role::Old => Tone::Quiet,
        Role::Down | Role::LeftOver => Tone::Bad,
    }
}

fn second_line(instance: &Instance) -> String {
    let short = |text: &str| text.trim_start_matches("sha256:").chars().take(SHORT).collect::<String>();
    // An image that was asked for by its id is known to people by the names that it has.
    let release = match instance.image.starts_with("sha256:") {
        true => instance.release.first().cloned().unwrap_or_else(|| "an image without a name".into()),
        false => instance.image.clone(),
    };
    let commit = instance.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short(commit)));
    let run = instance.run.as_deref().map_or_else(String::new, |run| format!(", run {run}"));
    format!("{release} {}{commit}{run}", short(&instance.image_id))
}

fn route_line(route: &Listed) -> String {
    let Some(view) = &route.view else { return format!("by {}, which does not tell", route.driver) };
    let place = &view.route;
    let host = place.host.as_deref().map_or_else(String::new, |host| format!(" for {host}"));
    let path = place.path_prefix.as_deref().map_or_else(String::new, |path| format!(" below {path}"));
    let targets: Vec<String> = view
        .targets
        .iter()
        .map(|target| {
            let ill = if target.healthy { "" } else { ", not well" };
            let draining = if target.draining { ", draining" } else { "" };
            format!("{} (weight {}, {} in flight{ill}{draining})", target.address, target.weight, target.in_flight)
        })
        .collect();
    let held = view.held.map_or_else(String::new, |waiting| format!("; HELD, {waiting} wait"));
    let to = if targets.is_empty() { "nobody".to_owned() } else { targets.join(", ") };
    format!("{}{host}{path} by {} to {to}{held}", place.address, route.driver)
}

fn orphan_text(orphan: &Orphan) -> String {
    let run = orphan.run.as_deref().map_or_else(String::new, |run| format!(", run {run}"));
    format!("{}: {}{run}", orphan.name, orphan.why)
}
