//! The include file's text: what nginx is told of a route, and what it was told. Knows no file and no program.

use std::fmt::Write;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::driver::{PROBE_HEADER, TARGET_HEADER};
use super::super::kept_route::{KeptRoute, KeptTarget, Seen};
use crate::effect::traffic::Route;
use crate::effect::{EffectError, ErrorKind};

/// Begins the line that holds [`Written`].
const MARK: &str = "# deployer-route ";
const HEAD: &str = "# Written by deployer, again at each change: what is changed here by hand is lost.\n";
/// Idle connections that each worker keeps to the targets.
const KEPT: u32 = 32;
/// How long it keeps them: less than servers usually do (5 s), so that it is not they who close first, just as a
/// request is on its way.
const KEPT_FOR: &str = "4s";

/// What the file keeps for deployer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Written {
    pub kept: KeptRoute,
    /// Whoever asks with it learns which worker answers, if that one works by this very text. Nobody else knows it.
    pub token: String,
}

impl Written {
    /// The file's text.
    ///
    /// # Errors
    /// `invalid` when nginx could not take it as it is.
    pub(super) fn text(&self) -> Result<String, EffectError> {
        let own = serde_json::to_string(self).map_err(|why| invalid(format!("the route cannot be kept: {why}")))?;
        Ok(format!("{HEAD}{MARK}{own}\n{}", self.body()?))
    }

    /// What was written; none when the text is not deployer's.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(MARK))?;
        serde_json::from_str(line).ok()
    }

    /// What nginx reads of it.
    pub(super) fn body(&self) -> Result<String, EffectError> {
        let route = &self.kept.route;
        let (upstream, variable) = (upstream_of(&route.service)?, variable_of(&route.service));
        let probe = PROBE_HEADER.replace('-', "_");
        let mut text = String::new();
        let mut upstream_part = String::new();
        for target in &self.kept.targets {
            let _ = writeln!(upstream_part, "    server {};", server(target, route.check.fall)?);
        }
        let serves = !upstream_part.is_empty();
        if serves {
            let _ = write!(
                text,
                "upstream {upstream} {{\n{upstream_part}    keepalive {KEPT};\n    keepalive_timeout {KEPT_FOR};\n}}\n\
                 map $http_{probe} {variable}_target {{\n    default \"\";\n    1 $upstream_addr;\n}}\n\
                 map $http_upgrade {variable}_connection {{\n    default upgrade;\n    \"\" \"\";\n}}\n",
            );
        }
        let default = if route.host.is_none() { " default_server" } else { "" };
        text.push_str("server {\n");
        for address in std::iter::once(&route.address).chain(&route.also) {
            let _ = writeln!(text, "    listen {}{default};", socket("address", address)?);
        }
        let host = route.host.as_deref().map(host_word).transpose()?;
        let _ = write!(
            text,
            "    server_name {};\n    if ($http_{probe} = \"{}\") {{\n        return 200 \"$pid\";\n    }}\n",
            host.unwrap_or("_"),
            self.token
        );
        let inside = if serves { location(route, &upstream, &variable) } else { "        return 503;\n".to_owned() };
        match route.path_prefix.as_deref().map(path_word).transpose()?.filter(|prefix| *prefix != "/") {
            None => {
                let _ = writeln!(text, "    location / {{\n{inside}    }}");
            }
            Some(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                let _ = writeln!(
                    text,
                    "    location = {prefix} {{\n{inside}    }}\n    location ^~ {prefix}/ {{\n{inside}    }}\n    \
                     location / {{\n        return 404;\n    }}"
                );
            }
        }
        text.push_str("}\n");
        Ok(text)
    }
}

/// What the text says of a target, as nginx reads it.
pub(super) fn seen(text: &str, target: &KeptTarget) -> Seen {
    let line = text.lines().filter_map(|line| line.strip_prefix("    server ")).find_map(|line| {
        let mut words = line.trim_end_matches(';').split(' ');
        (words.next() == Some(target.address.as_str())).then(|| words.collect::<Vec<_>>())
    });
    let Some(words) = line else { return Seen { address: "none".into(), ..Seen::default() } };
    let weight = words.iter().find_map(|word| word.strip_prefix("weight=")?.parse().ok()).unwrap_or(0);
    let draining = words.contains(&"down");
    Seen { address: target.address.clone(), weight, healthy: true, draining, in_flight: 0, served: None }
}

/// One server of the upstream. A warm one is a backup; nginx sends to it when nobody else answers.
fn server(target: &KeptTarget, fall: u32) -> Result<String, EffectError> {
    let address = socket("target", &target.address)?;
    let weight = if target.weight > 0 { format!(" weight={}", target.weight) } else { String::new() };
    let rank = match (target.draining, target.weight) {
        (true, _) => " down",
        (false, 0) => " backup",
        (false, _) => "",
    };
    Ok(format!("{address}{weight} max_fails={fall}{rank}"))
}

fn location(route: &Route, upstream: &str, variable: &str) -> String {
    let connect_ms = route.check.timeout.0.as_millis();
    format!(
        "        proxy_pass http://{upstream};\n        \
         proxy_http_version 1.1;\n        \
         proxy_set_header Host $http_host;\n        \
         proxy_set_header Connection {variable}_connection;\n        \
         proxy_set_header Upgrade $http_upgrade;\n        \
         proxy_set_header X-Real-IP $remote_addr;\n        \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n        \
         proxy_set_header X-Forwarded-Host $http_host;\n        \
         proxy_set_header X-Forwarded-Proto $scheme;\n        \
         proxy_connect_timeout {connect_ms}ms;\n        \
         proxy_next_upstream error;\n        \
         proxy_next_upstream_tries 2;\n        \
         add_header {TARGET_HEADER} {variable}_target always;\n"
    )
}

/// `deployer_SERVICE`: a server block of the user's own, such as one with TLS, can pass to it.
fn upstream_of(service: &str) -> Result<String, EffectError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if service.is_empty() || !service.chars().all(plain) {
        return Err(invalid(format!("the service `{service}` cannot be the name of an upstream of nginx")));
    }
    Ok(format!("deployer_{service}"))
}

/// Variables are named with letters, digits and `_` alone; two services never share one.
fn variable_of(service: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:02x}", u32::from(c)) };
    format!("$deployer_{}", service.chars().map(letter).collect::<String>())
}

fn socket(what: &str, address: &str) -> Result<SocketAddr, EffectError> {
    address.parse().map_err(|_| {
        invalid(format!("the {what} `{address}` is not an IP address with a port: nginx looks names up only once"))
    })
}

fn host_word(host: &str) -> Result<&str, EffectError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(invalid(format!("`{host}` is not a host name")));
    }
    Ok(host)
}

fn path_word(path: &str) -> Result<&str, EffectError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~%+:@!,".contains(c);
    if !path.starts_with('/') || !path.chars().all(plain) {
        return Err(invalid(format!("`{path}` is not a path that nginx can be given: `/` first, then plain letters")));
    }
    Ok(path)
}

fn invalid(message: String) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(route: serde_json::Value, targets: &[(&str, u32, bool)]) -> Written {
        let target = |(address, weight, draining): &(&str, u32, bool)| KeptTarget {
            name: format!("at {address}"),
            address: (*address).to_owned(),
            weight: *weight,
            draining: *draining,
        };
        let kept = KeptRoute {
            route: serde_json::from_value(route).unwrap(),
            epoch: 3,
            targets: targets.iter().map(target).collect(),
        };
        Written { kept, token: "t0".into() }
    }

    #[test]
    fn reads_what_it_wrote() {
        let route = serde_json::json!({"service": "a-b", "address": "0.0.0.0:80", "path_prefix": "/shop/"});
        let written = written(route, &[("10.0.0.1:80", 9, false), ("10.0.0.2:80", 0, false), ("10.0.0.3:80", 2, true)]);
        let text = written.text().unwrap();
        assert_eq!(Written::parse(&text).unwrap(), written);
        let has = |line: &str| assert!(text.lines().any(|found| found.trim() == line), "{line}\n{text}");
        has("server 10.0.0.1:80 weight=9 max_fails=3;");
        has("server 10.0.0.2:80 max_fails=3 backup;");
        has("server 10.0.0.3:80 weight=2 max_fails=3 down;");
        has("location ^~ /shop/ {");
        has("listen 0.0.0.0:80 default_server;");
        let seen: Vec<_> = written.kept.targets.iter().map(|target| seen(&text, target)).collect();
        let shown: Vec<_> = seen.iter().map(|seen| (seen.weight, seen.draining)).collect();
        assert_eq!(shown, [(9, false), (0, false), (2, true)]);
        assert_eq!(Written::parse("server {}"), None);
    }

    #[test]
    fn what_would_break_out_of_the_file_is_refused() {
        for (key, wrong) in [
            ("service", "a;b"),
            ("address", "localhost:80"),
            ("host", "a; return 200"),
            ("path_prefix", "/a { }"),
            ("path_prefix", "a"),
        ] {
            let mut route = serde_json::json!({"service": "web", "address": "0.0.0.0:80"});
            route[key] = wrong.into();
            let error = written(route, &[]).text().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{key} {wrong}");
        }
    }
}
