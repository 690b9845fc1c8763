//! Which service answers: by the address that was asked, the host, and the longest path. Exchanged whole.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::service::Service;
use super::state::State;

/// All routes.
#[derive(Debug, Default)]
pub struct Table {
    addresses: HashMap<SocketAddr, Hosts>,
    pub services: BTreeMap<String, Arc<Service>>,
}

#[derive(Debug, Default)]
struct Hosts {
    named: HashMap<String, Vec<Place>>,
    any: Vec<Place>,
}

/// The longest prefixes come first.
#[derive(Debug)]
struct Place {
    prefix: String,
    service: Arc<Service>,
}

impl Table {
    /// The routes of `state`, answered by `services`.
    pub fn new(state: &State, services: BTreeMap<String, Arc<Service>>) -> Self {
        let mut addresses: HashMap<SocketAddr, Hosts> = HashMap::new();
        for (name, own) in &state.services {
            let Some(service) = services.get(name) else { continue };
            for address in std::iter::once(&own.route.address).chain(&own.route.also) {
                let Ok(address) = address.parse() else { continue };
                let hosts = addresses.entry(address).or_default();
                let places = match &own.route.host {
                    Some(host) => hosts.named.entry(host.clone()).or_default(),
                    None => &mut hosts.any,
                };
                let prefix = own.route.path_prefix.clone().unwrap_or_default();
                places.push(Place { prefix, service: Arc::clone(service) });
                places.sort_by_key(|place| std::cmp::Reverse(place.prefix.len()));
            }
        }
        Self { addresses, services }
    }

    pub fn find(&self, address: SocketAddr, host: &str, path: &str) -> Option<&Arc<Service>> {
        let hosts = self.addresses.get(&address)?;
        let named = || {
            let lower;
            let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => {
                    lower = host.to_ascii_lowercase();
                    lower.as_str()
                }
                false => host,
            };
            let places = hosts.named.get(host).or_else(|| hosts.named.get(without_port(host)))?;
            longest(places, path)
        };
        if hosts.named.is_empty() { longest(&hosts.any, path) } else { named().or_else(|| longest(&hosts.any, path)) }
    }
}

fn longest<'a>(places: &'a [Place], path: &str) -> Option<&'a Arc<Service>> {
    places.iter().find(|place| below(&place.prefix, path)).map(|place| &place.service)
}

/// Whole segments: `/api` holds `/api` and `/api/v1`, not `/apis`.
fn below(prefix: &str, path: &str) -> bool {
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
    fn segments_are_whole() {
        assert!(below("/api", "/api") && below("/api", "/api/v1") && below("", "/") && below("", "*"));
        assert!(!below("/api", "/apis") && !below("/api", "/"));
    }

    #[test]
    fn ports_are_no_part_of_a_host() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com."), "example.com");
        assert_eq!(without_port("[::1]:80"), "[::1]");
    }
}
