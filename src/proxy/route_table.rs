//! Finds the service of a request by public address, host and longest path prefix. Replaced as a whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::request_path::{AmbiguousPath, normalized};
use super::routed_service::RoutedService;
use super::state::State;

/// All routes.
#[derive(Debug, Default)]
pub struct RouteTable {
    addresses: HashMap<SocketAddr, Hosts>,
    pub services: BTreeMap<String, Arc<RoutedService>>,
}

/// The routes of one public address.
#[derive(Debug, Default)]
struct Hosts {
    /// Routes for one host.
    named: HashMap<String, Vec<PathRoute>>,
    /// Routes for every host.
    any: Vec<PathRoute>,
    /// Some route has a path prefix, so that paths decide.
    by_path: bool,
}

/// One path prefix. Lists of these have the longest prefix first.
#[derive(Debug)]
struct PathRoute {
    prefix: String,
    service: Arc<RoutedService>,
}

impl RouteTable {
    /// Builds the table of a state's routes to `services`.
    pub fn new(state: &State, services: BTreeMap<String, Arc<RoutedService>>) -> Self {
        let mut addresses: HashMap<SocketAddr, Hosts> = HashMap::new();
        for (name, service_state) in &state.services {
            let Some(service) = services.get(name) else { continue };
            for address in std::iter::once(&service_state.route.address).chain(&service_state.route.also) {
                let Ok(address) = address.parse() else { continue };
                let hosts = addresses.entry(address).or_default();
                let routes = match &service_state.route.host {
                    Some(host) => hosts.named.entry(host.clone()).or_default(),
                    None => &mut hosts.any,
                };
                let prefix = service_state.route.path_prefix.clone().unwrap_or_default();
                let prefix = normalized(&prefix).map_or_else(|_| prefix.clone(), Cow::into_owned);
                let by_path = !prefix.is_empty();
                routes.push(PathRoute { prefix, service: Arc::clone(service) });
                routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
                hosts.by_path |= by_path;
            }
        }
        Self { addresses, services }
    }

    /// Finds the service of a request. `host` may contain a port.
    ///
    /// # Errors
    /// When routes depend on the path, and targets may read this one in different ways.
    pub fn find(
        &self,
        address: SocketAddr,
        host: &str,
        path: &str,
    ) -> Result<Option<&Arc<RoutedService>>, AmbiguousPath> {
        let Some(hosts) = self.addresses.get(&address) else { return Ok(None) };
        let path = if hosts.by_path { normalized(path)? } else { Cow::Borrowed(path) };
        let path = path.as_ref();
        let named = || {
            let lower;
            let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => {
                    lower = host.to_ascii_lowercase();
                    lower.as_str()
                }
                false => host,
            };
            let routes = hosts.named.get(host).or_else(|| hosts.named.get(without_port(host)))?;
            longest_match(routes, path)
        };
        Ok(if hosts.named.is_empty() {
            longest_match(&hosts.any, path)
        } else {
            named().or_else(|| longest_match(&hosts.any, path))
        })
    }
}

fn longest_match<'a>(routes: &'a [PathRoute], path: &str) -> Option<&'a Arc<RoutedService>> {
    routes.iter().find(|route| has_prefix(path, &route.prefix)).map(|route| &route.service)
}

/// Matches whole segments: the prefix `/api` matches `/api` and `/api/v1`, but not `/apis`.
fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.trim_end_matches('.'),
        _ => host.trim_end_matches('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_whole_segments() {
        assert!(has_prefix("/api", "/api") && has_prefix("/api/v1", "/api"));
        assert!(has_prefix("/", "") && has_prefix("*", ""));
        assert!(!has_prefix("/apis", "/api") && !has_prefix("/", "/api"));
    }

    #[test]
    fn a_port_is_not_part_of_the_host() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com."), "example.com");
        assert_eq!(without_port("[::1]:80"), "[::1]");
    }
}
