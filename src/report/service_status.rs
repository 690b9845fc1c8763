//! The status of services, as blocks for a terminal, plain lines, or JSON. Knows no engine.

use serde_json::json;

use super::Format;
use super::history::ago;
use super::layout::{Paint, Tone, between, columns, one_line, wrap};
use crate::effect::traffic::ListedRoute;
use crate::run::inventory::service_status::{Instance, Orphan, Role, ServiceStatus, ServiceStatuses, state_word};

/// Columns of the word at the start of a line.
const WORD: usize = 10;
/// Length of a shortened image id or commit.
const SHORT: usize = 12;

/// What to show, and how.
pub struct StatusText<'a> {
    /// The status of the services.
    pub statuses: &'a ServiceStatuses,
    /// Milliseconds since 1970, UTC.
    pub now_ms: i64,
    /// Columns of the terminal.
    pub width: usize,
    /// Use colours.
    pub colour: bool,
}

impl StatusText<'_> {
    /// Returns the text in a format.
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Json => format!("{}\n", json!(self.statuses)),
            Format::Plain => self.lines(),
            Format::Pretty => self.blocks(),
        }
    }

    fn blocks(&self) -> String {
        let paint = Paint { colour: self.colour };
        let mut text = String::new();
        for service in &self.statuses.services {
            let (tone, state) = state_of(service);
            let gap = self.width.saturating_sub(columns(&service.service) + columns(state)).clamp(2, 40);
            let name = paint.on(Tone::Strong, &one_line(&service.service));
            text += &format!("{name}{}{}\n", " ".repeat(gap), paint.on(tone, state));
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
        let unfinished: Vec<String> = self.statuses.unfinished.iter().filter_map(|run| run.what_to_do()).collect();
        for sentence in &unfinished {
            text += &self.part(Tone::Bad, "act", sentence);
        }
        if !self.statuses.orphans.is_empty() {
            text += &format!("{}\n", paint.on(Tone::Strong, "orphaned"));
        }
        for orphan in &self.statuses.orphans {
            text += &self.part(Tone::Quiet, orphan.kind, &orphan_text(orphan));
        }
        if text.is_empty() {
            text = self.nothing();
        }
        text
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for service in &self.statuses.services {
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
                text += &format!("{name} {}\n", state_of(service).1);
            }
        }
        for sentence in self.statuses.unfinished.iter().filter_map(|run| run.what_to_do()) {
            text += &format!("act: {sentence}\n");
        }
        for orphan in &self.statuses.orphans {
            text += &format!("orphaned {}: {}\n", orphan.kind, orphan_text(orphan));
        }
        if text.is_empty() { self.nothing() } else { text.lines().map(|line| one_line(line) + "\n").collect() }
    }

    fn nothing(&self) -> String {
        format!("no services on {}\n", one_line(&self.statuses.address))
    }

    /// Returns a word and a text beside it, wrapped to the width.
    fn part(&self, tone: Tone, word: &str, body: &str) -> String {
        let room = self.width.saturating_sub(WORD + 2).max(20);
        let mut text = String::new();
        for (at, line) in wrap(&one_line(body), room).iter().enumerate() {
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
        let gone = if lock.is_dead() { ", which no longer exists" } else { "" };
        format!("run {}, process {} on {}{gone}{since}", lock.holder.run, lock.holder.pid, lock.holder.host)
    }
}

/// Returns the state of a service in a word.
fn state_of(service: &ServiceStatus) -> (Tone, &'static str) {
    let deploying = service.lock.as_ref().is_some_and(|lock| !lock.is_dead());
    match service.attention.is_empty() {
        true if deploying => (Tone::Strong, "deploying"),
        true => (Tone::Good, "live"),
        false => (Tone::Bad, "needs attention"),
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
    // An image that was requested by its id is shown by its names.
    let release = match instance.image.starts_with("sha256:") {
        true => instance.release.first().cloned().unwrap_or_else(|| "unnamed image".into()),
        false => instance.image.clone(),
    };
    let commit = instance.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short(commit)));
    let run = instance.run.as_deref().map_or_else(String::new, |run| format!(", run {run}"));
    format!("{release} {}{commit}{run}", short(&instance.image_id))
}

fn route_line(route: &ListedRoute) -> String {
    let Some(view) = &route.view else { return format!("by {}, state unknown", route.driver) };
    let address = &view.route;
    let host = address.host.as_deref().map_or_else(String::new, |host| format!(" for {host}"));
    let path = address.path_prefix.as_deref().map_or_else(String::new, |path| format!(" below {path}"));
    let targets: Vec<String> = view
        .targets
        .iter()
        .map(|target| {
            let unhealthy = if target.healthy { "" } else { ", unhealthy" };
            let draining = if target.draining { ", draining" } else { "" };
            format!(
                "{} (weight {}, {} in flight{unhealthy}{draining})",
                target.address, target.weight, target.in_flight
            )
        })
        .collect();
    let held = view.held.map_or_else(String::new, |waiting| format!("; on hold, {waiting} requests waiting"));
    let to = if targets.is_empty() { "no target".to_owned() } else { targets.join(", ") };
    format!("{}{host}{path} by {} to {to}{held}", address.address, route.driver)
}

fn orphan_text(orphan: &Orphan) -> String {
    let run = orphan.run.as_deref().map_or_else(String::new, |run| format!(", run {run}"));
    format!("{}: {}{run}", orphan.name, orphan.why)
}
