//! Checks the parts of a command: routes, targets, canary rules, mirrors and holds.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::command::Refusal;
use crate::effect::traffic::{CanaryRule, Mirror, Route, Target, TargetCheck};

/// Targets of one service.
const TARGETS_MAX: usize = 64;
/// The sum of their weights.
const WEIGHTS_MAX: u64 = 1_000_000;
const NAME_MAX: usize = 128;
const TEXT_MAX: usize = 1_024;
const ALSO_MAX: usize = 16;
/// Requests that may wait while they are held.
const HELD_MAX: u64 = 100_000;
const HOLD_MAX: Duration = Duration::from_secs(600);
/// The limits of a health check.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);
const STREAK_MAX: u32 = 1_000;

/// Returns the route in its normal form: hosts in lower case, paths without a trailing slash.
///
/// # Errors
/// When a part of it is invalid.
pub fn route(route: &Route) -> Result<Route, Refusal> {
    name("service", &route.service)?;
    let mut route = route.clone();
    route.address = public_address(&route.address)?;
    if route.also.len() > ALSO_MAX {
        return Err(Refusal::invalid(format!("more than {ALSO_MAX} additional addresses")));
    }
    for address in &mut route.also {
        *address = public_address(address)?;
    }
    if let Some(host) = &mut route.host {
        *host = host.trim_end_matches('.').to_ascii_lowercase();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if host.is_empty() || host.len() > NAME_MAX || !host.chars().all(fits) {
            return Err(Refusal::invalid(format!("`{host}` is not a host name")));
        }
    }
    if let Some(prefix) = &mut route.path_prefix {
        request_path(prefix)?;
        prefix.truncate(prefix.trim_end_matches('/').len());
        if prefix.is_empty() {
            route.path_prefix = None;
        }
    }
    target_check(&route.check)?;
    Ok(route)
}

fn target_check(check: &TargetCheck) -> Result<(), Refusal> {
    if let Some(path) = &check.path {
        request_path(path)?;
    }
    for (what, duration) in [("interval", check.interval.0), ("timeout", check.timeout.0)] {
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&duration) {
            return Err(Refusal::invalid(format!("`check.{what}` must be between 50ms and 1h")));
        }
    }
    for (what, streak) in [("fall", check.fall), ("rise", check.rise)] {
        if !(1..=STREAK_MAX).contains(&streak) {
            return Err(Refusal::invalid(format!("`check.{what}` must be between 1 and {STREAK_MAX}")));
        }
    }
    Ok(())
}

fn request_path(path: &str) -> Result<(), Refusal> {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#'));
    if !path.starts_with('/') || path.len() > TEXT_MAX || !plain || path.parse::<http::Uri>().is_err() {
        return Err(Refusal::invalid(format!("`{path}` is not a path: it must begin with `/` and contain no spaces")));
    }
    Ok(())
}

fn public_address(address: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::invalid(format!("`{address}` is not a public address such as `0.0.0.0:80`"));
    let address: SocketAddr = address.parse().map_err(|_| wrong())?;
    if address.port() == 0 { Err(wrong()) } else { Ok(address.to_string()) }
}

/// Checks the targets of a service.
///
/// # Errors
/// With the first problem.
pub fn targets(service: &str, targets: &[Target]) -> Result<(), Refusal> {
    if targets.len() > TARGETS_MAX {
        return Err(Refusal::invalid(format!("`{service}` has more than {TARGETS_MAX} targets")));
    }
    let mut sum = 0;
    for (index, target) in targets.iter().enumerate() {
        name("target", &target.name)?;
        target_address(&target.address)?;
        if targets[..index].iter().any(|other| other.name == target.name) {
            return Err(Refusal::invalid(format!("`{service}` has two targets named `{}`", target.name)));
        }
        sum += u64::from(target.weight);
    }
    if sum > WEIGHTS_MAX {
        return Err(Refusal::invalid(format!("the weights of `{service}` add up to more than {WEIGHTS_MAX}")));
    }
    Ok(())
}

fn target_address(address: &str) -> Result<(), Refusal> {
    let wrong = || Refusal::invalid(format!("`{address}` is not an address such as `127.0.0.1:8080`"));
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let known = port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || host.len() > NAME_MAX || !host.chars().all(fits) || !known { Err(wrong()) } else { Ok(()) }
}

/// Checks a canary rule.
///
/// # Errors
/// When its header or cookie is invalid.
pub fn canary(rule: &CanaryRule) -> Result<(), Refusal> {
    // Cookie names follow the same grammar as header names.
    let named = HeaderName::from_bytes(rule.name.as_bytes()).is_ok();
    let value = rule.value.as_deref().unwrap_or_default();
    if !named || rule.name.len() > NAME_MAX || value.len() > TEXT_MAX || HeaderValue::from_str(value).is_err() {
        return Err(Refusal::invalid(format!("`{}` is not a valid name of a header or a cookie", rule.name)));
    }
    Ok(())
}

/// Checks a mirror.
///
/// # Errors
/// When its address or its share is invalid.
pub fn mirror(mirror: &Mirror) -> Result<(), Refusal> {
    target_address(&mirror.address)?;
    if mirror.percent > 100 {
        return Err(Refusal::invalid("`percent` must be at most 100"));
    }
    Ok(())
}

/// Checks the limits of a hold.
///
/// # Errors
/// When they are too large.
pub fn hold(max_requests: u64, max_wait: Duration) -> Result<(), Refusal> {
    if max_requests > HELD_MAX || max_wait > HOLD_MAX {
        return Err(Refusal::invalid(format!("a hold is limited to {HELD_MAX} requests and 10m")));
    }
    Ok(())
}

fn name(what: &str, name: &str) -> Result<(), Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
        let message = format!("`{name}` is not a valid {what} name: use letters, digits, `.`, `-` and `_`");
        return Err(Refusal::invalid(message));
    }
    Ok(())
}
