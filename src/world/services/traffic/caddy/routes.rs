//! Routes in Caddy's configuration: one server per public address, one route per service. Knows no API.

use serde_json::{Map, Value, json};

use crate::effect::traffic::{Route, caddy_route_taken};
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::traffic::driver::{PROBE_HEADER, TARGET_HEADER};
use crate::world::services::traffic::stored_route::{ObservedTarget, StoredRoute, StoredTarget};

/// Prefix of the names of servers and of `@id`s.
const PREFIX: &str = "deployer-";
/// Variable of the request that holds the stored route. Nothing in Caddy reads it.
const ROUTE_VARIABLE: &str = "deployer_route";
/// Most entries in the list of upstreams. Caddy 2.6 has no weights, so a target is listed as often as its share requires.
const MAX_ENTRIES: u64 = 100;
/// How often a request that could not be sent is retried with another upstream.
const RETRIES: u32 = 2;
/// Pause between these retries.
const RETRY_PAUSE: &str = "50ms";

type Config = Map<String, Value>;

/// Finds the route of a service in any server.
pub(super) fn find(servers: &Config, service: &str) -> Option<StoredRoute> {
    stored_routes(servers).find(|stored| stored.route.service == service)
}

fn stored_routes(servers: &Config) -> impl Iterator<Item = StoredRoute> {
    let routes = servers.values().filter_map(|server| server["routes"].as_array()).flatten();
    routes.filter_map(|route| serde_json::from_str(route["handle"][0][ROUTE_VARIABLE].as_str()?).ok())
}

/// Returns the servers with the new route of a service, or without a route of it.
pub(super) fn with_route(servers: &Config, service: &str, next: Option<&StoredRoute>) -> Result<Config, EffectError> {
    let mut all: Vec<StoredRoute> = stored_routes(servers).filter(|stored| stored.route.service != service).collect();
    // A route with several addresses is in several servers.
    all.dedup_by(|a, b| a.route.service == b.route.service);
    if let Some(next) = next {
        refuse_conflict(&next.route, &all)?;
        all.push(next.clone());
    }
    let mut configured: Config = servers
        .iter()
        .filter(|(name, _)| !name.starts_with(PREFIX))
        .map(|(name, server)| (name.clone(), server.clone()))
        .collect();
    // Routes with a host come first, then those with the longest path. The first match is then the right one.
    all.sort_by_key(|stored| {
        let length = stored.route.path_prefix.as_ref().map_or(0, String::len);
        (stored.route.host.is_none(), std::cmp::Reverse(length), stored.route.service.clone())
    });
    let mut addresses: Vec<&String> = all.iter().flat_map(|stored| addresses_of(&stored.route)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    for address in addresses {
        let at_address = all.iter().filter(|stored| addresses_of(&stored.route).any(|own| own == address));
        let mut routes = at_address.map(|stored| route(stored, address)).collect::<Result<Vec<_>, _>>()?;
        routes.push(json!({"handle": [{"handler": "static_response", "status_code": 404}]}));
        let server =
            json!({"listen": [listen_address(address)?], "routes": routes, "automatic_https": {"disable": true}});
        configured.insert(format!("{PREFIX}{address}"), server);
    }
    Ok(configured)
}

fn addresses_of(route: &Route) -> impl Iterator<Item = &String> {
    std::iter::once(&route.address).chain(&route.also)
}

fn refuse_conflict(route: &Route, others: &[StoredRoute]) -> Result<(), EffectError> {
    let same = |other: &&StoredRoute| {
        let other = &other.route;
        other.host == route.host
            && prefix(other) == prefix(route)
            && addresses_of(other).any(|address| addresses_of(route).any(|own| own == address))
    };
    match others.iter().find(same) {
        None => Ok(()),
        Some(other) => Err(caddy_route_taken(&other.route.service, &route.address)),
    }
}

fn prefix(route: &Route) -> &str {
    route.path_prefix.as_deref().unwrap_or("/").trim_end_matches('/')
}

fn listen_address(address: &str) -> Result<String, EffectError> {
    let parsed: Result<std::net::SocketAddr, _> = address.parse();
    parsed.map(|address| format!("tcp/{address}")).map_err(|_| {
        let message = format!("`{address}` is not an address such as `0.0.0.0:80`");
        EffectError::new(ErrorKind::Invalid, message).not_applied()
    })
}

fn route(stored: &StoredRoute, address: &str) -> Result<Value, EffectError> {
    let json = serde_json::to_string(stored).map_err(|why| {
        EffectError::new(ErrorKind::Internal, format!("cannot serialize the route: {why}")).not_applied()
    })?;
    let service = &stored.route.service;
    let mut subroutes = vec![json!({
        "match": [{"header": {(PROBE_HEADER): ["*"]}}],
        "handle": [{"handler": "headers", "response": {
            "deferred": true,
            "set": {(TARGET_HEADER): ["{http.reverse_proxy.upstream.hostport}"]},
        }}],
    })];
    // Any other protocol would be a tunnel past the routes.
    subroutes.push(json!({
        "match": [{"not": [{"header_regexp": {"Upgrade": {"pattern": "(?i)^websocket$"}}}]}],
        "handle": [{"handler": "headers", "request": {"delete": ["Upgrade", "Connection", "HTTP2-Settings"]}}],
    }));
    let idle: Vec<&StoredTarget> = stored.targets.iter().filter(|target| !target.is_live()).collect();
    if !idle.is_empty() {
        // No request matches this route. Caddy counts requests in flight only while a handler names the upstream.
        let upstreams: Vec<Value> = idle.iter().map(|target| json!({"dial": target.address})).collect();
        let handler = json!({"handler": "reverse_proxy", "upstreams": upstreams});
        subroutes.push(json!({"match": [{"not": [{}]}], "handle": [handler]}));
    }
    let live: Vec<&StoredTarget> = stored.targets.iter().filter(|target| target.is_live()).collect();
    subroutes.push(match live.is_empty() {
        true => json!({"handle": [{"handler": "static_response", "status_code": 503}]}),
        false => json!({"handle": [forward(&stored.route, &live)]}),
    });
    let mut matches = Map::new();
    if let Some(host) = &stored.route.host {
        matches.insert("host".into(), json!([host]));
    }
    let prefix = prefix(&stored.route);
    if !prefix.is_empty() {
        matches.insert("path".into(), json!([prefix, format!("{prefix}/*")]));
    }
    let id = if stored.route.address == address {
        format!("{PREFIX}{service}")
    } else {
        format!("{PREFIX}{service}@{address}")
    };
    let mut route = json!({
        "@id": id,
        "handle": [{"handler": "vars", (ROUTE_VARIABLE): json}, {"handler": "subroute", "routes": subroutes}],
        "terminal": true,
    });
    if !matches.is_empty() {
        route["match"] = json!([matches]);
    }
    Ok(route)
}

fn forward(route: &Route, live: &[&StoredTarget]) -> Value {
    let weights: Vec<u32> = live.iter().map(|target| target.weight).collect();
    let upstreams: Vec<Value> = live
        .iter()
        .zip(entries(&weights))
        .flat_map(|(target, count)| std::iter::repeat_n(json!({"dial": target.address}), count))
        .collect();
    let mut handler = json!({
        "handler": "reverse_proxy",
        "upstreams": upstreams,
        "load_balancing": {"selection_policy": {"policy": "round_robin"}, "retries": RETRIES, "try_interval": RETRY_PAUSE},
        "transport": {"protocol": "http", "dial_timeout": route.check.timeout.to_string()},
    });
    // With a single target, a failing check would only refuse clients.
    if live.len() > 1 {
        let check = &route.check;
        handler["health_checks"] = match &check.path {
            Some(path) => json!({"active": {
                "uri": path, "interval": check.interval.to_string(), "timeout": check.timeout.to_string(),
            }}),
            None => {
                json!({"passive": {"max_fails": check.fall, "fail_duration": (check.interval.0 * check.fall).as_nanos() as u64}})
            }
        };
    }
    handler
}

/// Returns how often each target is listed.
fn entries(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let shares: Vec<u64> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
    let total: u64 = shares.iter().sum::<u64>().max(1);
    let scale = |share: u64| if total <= MAX_ENTRIES { share } else { (share * MAX_ENTRIES / total).max(1) };
    shares.into_iter().map(|share| usize::try_from(scale(share)).unwrap_or(1)).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Returns a target as Caddy's configuration has it.
pub(super) fn observe(servers: &Config, stored: &StoredRoute, target: &StoredTarget) -> ObservedTarget {
    let id = format!("{PREFIX}{}", stored.route.service);
    let routes = servers.values().filter_map(|server| server["routes"].as_array()).flatten();
    let mut matching = routes.filter(|route| route["@id"] == *id);
    let counts = matching.next().map(|route| count_upstreams(route, &target.address));
    let live_targets = stored.targets.iter().filter(|target| target.is_live()).collect::<Vec<_>>();
    let weights: Vec<u32> = live_targets.iter().map(|target| target.weight).collect();
    let expected = live_targets
        .iter()
        .zip(entries(&weights))
        .find(|(live, _)| live.name == target.name)
        .map_or(0, |(_, count)| count);
    let (live, idle) = counts.unwrap_or_default();
    ObservedTarget {
        address: if live + idle > 0 { target.address.clone() } else { "none".into() },
        weight: if live == expected { target.weight } else { u32::try_from(live).unwrap_or(u32::MAX) },
        healthy: true,
        draining: target.draining && live == 0,
        in_flight: 0,
        served: None,
    }
}

/// Counts how often a route lists an address: as an upstream that gets requests, and as one that gets none.
fn count_upstreams(route: &Value, address: &str) -> (usize, usize) {
    let subroutes = route["handle"][1]["routes"].as_array().into_iter().flatten();
    subroutes.fold((0, 0), |(live, idle), step| {
        let upstreams = step["handle"][0]["upstreams"].as_array().into_iter().flatten();
        let count = upstreams.filter(|upstream| upstream["dial"] == address).count();
        if step.get("match").is_none() { (live + count, idle) } else { (live, idle + count) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(service: &str, more: Value, targets: &[(&str, u32)]) -> StoredRoute {
        let mut route = json!({"service": service, "address": "0.0.0.0:80"});
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let target = |(address, weight): &(&str, u32)| StoredTarget {
            name: (*address).to_owned(),
            address: (*address).to_owned(),
            weight: *weight,
            draining: false,
        };
        StoredRoute {
            route: serde_json::from_value(route).unwrap(),
            epoch: 1,
            targets: targets.iter().map(target).collect(),
        }
    }

    #[test]
    fn routes_share_an_address_and_are_removed_completely() {
        let foreign: Config = serde_json::from_value(json!({"own": {"listen": [":443"]}})).unwrap();
        let all = stored("web", json!({}), &[("10.0.0.1:80", 1), ("10.0.0.2:80", 0)]);
        let shop = stored("shop", json!({"path_prefix": "/shop", "also": ["0.0.0.0:81"]}), &[("10.0.0.3:80", 3)]);
        let one = with_route(&foreign, "web", Some(&all)).unwrap();
        let two = with_route(&one, "shop", Some(&shop)).unwrap();
        assert_eq!(two["deployer-0.0.0.0:80"]["routes"][0]["@id"], "deployer-shop");
        assert_eq!(two["deployer-0.0.0.0:80"]["routes"][1]["@id"], "deployer-web");
        assert_eq!(find(&two, "web").unwrap(), all);
        assert_eq!(find(&two, "shop").unwrap(), shop);
        let view = all.view(|target| observe(&two, &all, target));
        let shown: Vec<_> = view.targets.iter().map(|target| (target.address.as_str(), target.weight)).collect();
        assert_eq!(shown, [("10.0.0.1:80", 1), ("10.0.0.2:80", 0)]);
        let duplicate = stored("duplicate", json!({"path_prefix": "/shop/"}), &[]);
        assert_eq!(with_route(&two, "duplicate", Some(&duplicate)).unwrap_err().kind, ErrorKind::Conflict);
        assert_eq!(with_route(&with_route(&two, "web", None).unwrap(), "shop", None).unwrap(), foreign);
    }

    #[test]
    fn shares_become_entries_of_a_list() {
        assert_eq!(entries(&[1, 99]), [1, 99]);
        assert_eq!(entries(&[50, 50]), [1, 1]);
        assert_eq!(entries(&[1, 100_000]), [1, 99]);
    }
}
