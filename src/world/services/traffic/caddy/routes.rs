//! Routes as Caddy's configuration has them: one server per public address, one route per service. Knows no API.

use serde_json::{Map, Value, json};

use super::super::driver::{PROBE_HEADER, TARGET_HEADER};
use super::super::kept_route::{KeptRoute, KeptTarget, Seen};
use crate::effect::traffic::Route;
use crate::effect::{EffectError, ErrorKind};

/// Names of servers and of `@id`s begin with it.
const PREFIX: &str = "deployer-";
/// Where the route itself is kept: a variable of the request, which nobody reads.
const KEPT: &str = "deployer_route";
/// Caddy 2.6 knows no weights: a target stands as often in the list as its share asks for, this long at most.
const ENTRIES: u64 = 100;
/// Upstreams that a request tries which could not be sent.
const RETRIES: u32 = 2;
const PAUSE: &str = "50ms";

type Config = Map<String, Value>;

/// The route of a service, wherever it is.
pub(super) fn find(servers: &Config, service: &str) -> Option<KeptRoute> {
    kept_routes(servers).find(|kept| kept.route.service == service)
}

fn kept_routes(servers: &Config) -> impl Iterator<Item = KeptRoute> {
    let routes = servers.values().filter_map(|server| server["routes"].as_array()).flatten();
    routes.filter_map(|route| serde_json::from_str(route["handle"][0][KEPT].as_str()?).ok())
}

/// The servers with the route as it shall be; none takes it away.
pub(super) fn with(servers: &Config, service: &str, next: Option<&KeptRoute>) -> Result<Config, EffectError> {
    let mut all: Vec<KeptRoute> = kept_routes(servers).filter(|kept| kept.route.service != service).collect();
    // A route with several addresses is in several servers.
    all.dedup_by(|one, other| one.route.service == other.route.service);
    if let Some(next) = next {
        check(&next.route, &all)?;
        all.push(next.clone());
    }
    let mut configured: Config = servers
        .iter()
        .filter(|(name, _)| !name.starts_with(PREFIX))
        .map(|(name, own)| (name.clone(), own.clone()))
        .collect();
    // Those with a host first, then the longest path, so that the first that fits is the right one.
    all.sort_by_key(|kept| {
        let length = kept.route.path_prefix.as_ref().map_or(0, String::len);
        (kept.route.host.is_none(), std::cmp::Reverse(length), kept.route.service.clone())
    });
    let mut addresses: Vec<&String> = all.iter().flat_map(|kept| reached(&kept.route)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    for address in addresses {
        let own = all.iter().filter(|kept| reached(&kept.route).any(|own| own == address));
        let mut routes = own.map(|kept| route(kept, address)).collect::<Result<Vec<_>, _>>()?;
        routes.push(json!({"handle": [{"handler": "static_response", "status_code": 404}]}));
        let server = json!({"listen": [listen(address)?], "routes": routes, "automatic_https": {"disable": true}});
        configured.insert(format!("{PREFIX}{address}"), server);
    }
    Ok(configured)
}

fn reached(route: &Route) -> impl Iterator<Item = &String> {
    std::iter::once(&route.address).chain(&route.also)
}

fn check(route: &Route, others: &[KeptRoute]) -> Result<(), EffectError> {
    let same = |other: &&KeptRoute| {
        let other = &other.route;
        other.host == route.host
            && prefix(other) == prefix(route)
            && reached(other).any(|address| reached(route).any(|own| own == address))
    };
    match others.iter().find(same) {
        None => Ok(()),
        Some(other) => {
            let message = format!("service `{}` has the same host and path on {}", other.route.service, route.address);
            Err(EffectError::new(ErrorKind::Conflict, message)
                .hint("give each service a `host` or a `path_prefix` of its own")
                .not_applied())
        }
    }
}

fn prefix(route: &Route) -> &str {
    route.path_prefix.as_deref().unwrap_or("/").trim_end_matches('/')
}

fn listen(address: &str) -> Result<String, EffectError> {
    let parsed: Result<std::net::SocketAddr, _> = address.parse();
    parsed.map(|address| format!("tcp/{address}")).map_err(|_| {
        let message = format!("`{address}` is not a public address such as `0.0.0.0:80`");
        EffectError::new(ErrorKind::Invalid, message).not_applied()
    })
}

fn route(kept: &KeptRoute, address: &str) -> Result<Value, EffectError> {
    let own = serde_json::to_string(kept).map_err(|why| {
        EffectError::new(ErrorKind::Internal, format!("the route cannot be kept: {why}")).not_applied()
    })?;
    let service = &kept.route.service;
    let mut inside = vec![json!({
        "match": [{"header": {(PROBE_HEADER): ["*"]}}],
        "handle": [{"handler": "headers", "response": {
            "deferred": true,
            "set": {(TARGET_HEADER): ["{http.reverse_proxy.upstream.hostport}"]},
        }}],
    })];
    let aside: Vec<&KeptTarget> = kept.targets.iter().filter(|target| !target.is_live()).collect();
    if !aside.is_empty() {
        // Nobody comes here; Caddy counts what they have in flight as long as a handler names them.
        let upstreams: Vec<Value> = aside.iter().map(|target| json!({"dial": target.address})).collect();
        let handler = json!({"handler": "reverse_proxy", "upstreams": upstreams});
        inside.push(json!({"match": [{"not": [{}]}], "handle": [handler]}));
    }
    let live: Vec<&KeptTarget> = kept.targets.iter().filter(|target| target.is_live()).collect();
    inside.push(match live.is_empty() {
        true => json!({"handle": [{"handler": "static_response", "status_code": 503}]}),
        false => json!({"handle": [forward(&kept.route, &live)]}),
    });
    let mut matches = Map::new();
    if let Some(host) = &kept.route.host {
        matches.insert("host".into(), json!([host]));
    }
    let prefix = prefix(&kept.route);
    if !prefix.is_empty() {
        matches.insert("path".into(), json!([prefix, format!("{prefix}/*")]));
    }
    let id = if kept.route.address == address {
        format!("{PREFIX}{service}")
    } else {
        format!("{PREFIX}{service}@{address}")
    };
    let mut route = json!({
        "@id": id,
        "handle": [{"handler": "vars", (KEPT): own}, {"handler": "subroute", "routes": inside}],
        "terminal": true,
    });
    if !matches.is_empty() {
        route["match"] = json!([matches]);
    }
    Ok(route)
}

fn forward(route: &Route, live: &[&KeptTarget]) -> Value {
    let weights: Vec<u32> = live.iter().map(|target| target.weight).collect();
    let upstreams: Vec<Value> = live
        .iter()
        .zip(entries(&weights))
        .flat_map(|(target, count)| std::iter::repeat_n(json!({"dial": target.address}), count))
        .collect();
    let mut handler = json!({
        "handler": "reverse_proxy",
        "upstreams": upstreams,
        "load_balancing": {"selection_policy": {"policy": "round_robin"}, "retries": RETRIES, "try_interval": PAUSE},
        "transport": {"protocol": "http", "dial_timeout": route.check.timeout.to_string()},
    });
    // Where there is nobody else to go to, a check that fails would only turn visitors away.
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

/// How often each target stands in the list.
fn entries(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let shares: Vec<u64> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
    let all: u64 = shares.iter().sum::<u64>().max(1);
    let fit = |share: u64| if all <= ENTRIES { share } else { (share * ENTRIES / all).max(1) };
    shares.into_iter().map(|share| usize::try_from(fit(share)).unwrap_or(1)).collect()
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// What Caddy's own configuration says of a target.
pub(super) fn seen(servers: &Config, kept: &KeptRoute, target: &KeptTarget) -> Seen {
    let id = format!("{PREFIX}{}", kept.route.service);
    let routes = servers.values().filter_map(|server| server["routes"].as_array()).flatten();
    let mut own = routes.filter(|route| route["@id"] == *id);
    let there = own.next().map(|route| dials(route, &target.address));
    let told = kept.targets.iter().filter(|target| target.is_live()).collect::<Vec<_>>();
    let weights: Vec<u32> = told.iter().map(|target| target.weight).collect();
    let due =
        told.iter().zip(entries(&weights)).find(|(live, _)| live.name == target.name).map_or(0, |(_, count)| count);
    let (live, aside) = there.unwrap_or_default();
    Seen {
        address: if live + aside > 0 { target.address.clone() } else { "none".into() },
        weight: if live == due { target.weight } else { u32::try_from(live).unwrap_or(u32::MAX) },
        healthy: true,
        draining: target.draining && live == 0,
        in_flight: 0,
        served: None,
    }
}

/// How often an address stands in the lists of a route: of those who get requests, and of the others.
fn dials(route: &Value, address: &str) -> (usize, usize) {
    let inside = route["handle"][1]["routes"].as_array().into_iter().flatten();
    inside.fold((0, 0), |(live, aside), step| {
        let upstreams = step["handle"][0]["upstreams"].as_array().into_iter().flatten();
        let count = upstreams.filter(|upstream| upstream["dial"] == address).count();
        if step.get("match").is_none() { (live + count, aside) } else { (live, aside + count) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(service: &str, more: Value, targets: &[(&str, u32)]) -> KeptRoute {
        let mut route = json!({"service": service, "address": "0.0.0.0:80"});
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let target = |(address, weight): &(&str, u32)| KeptTarget {
            name: (*address).to_owned(),
            address: (*address).to_owned(),
            weight: *weight,
            draining: false,
        };
        KeptRoute {
            route: serde_json::from_value(route).unwrap(),
            epoch: 1,
            targets: targets.iter().map(target).collect(),
        }
    }

    #[test]
    fn routes_share_an_address_and_leave_nothing_behind() {
        let strange: Config = serde_json::from_value(json!({"own": {"listen": [":443"]}})).unwrap();
        let all = kept("web", json!({}), &[("10.0.0.1:80", 1), ("10.0.0.2:80", 0)]);
        let shop = kept("shop", json!({"path_prefix": "/shop", "also": ["0.0.0.0:81"]}), &[("10.0.0.3:80", 3)]);
        let one = with(&strange, "web", Some(&all)).unwrap();
        let two = with(&one, "shop", Some(&shop)).unwrap();
        assert_eq!(two["deployer-0.0.0.0:80"]["routes"][0]["@id"], "deployer-shop");
        assert_eq!(two["deployer-0.0.0.0:80"]["routes"][1]["@id"], "deployer-web");
        assert_eq!(find(&two, "web").unwrap(), all);
        assert_eq!(find(&two, "shop").unwrap(), shop);
        let view = all.view(|target| seen(&two, &all, target));
        let shown: Vec<_> = view.targets.iter().map(|target| (target.address.as_str(), target.weight)).collect();
        assert_eq!(shown, [("10.0.0.1:80", 1), ("10.0.0.2:80", 0)]);
        let twin = kept("twin", json!({"path_prefix": "/shop/"}), &[]);
        assert_eq!(with(&two, "twin", Some(&twin)).unwrap_err().kind, ErrorKind::Conflict);
        assert_eq!(with(&with(&two, "web", None).unwrap(), "shop", None).unwrap(), strange);
    }

    #[test]
    fn shares_are_entries_of_a_list() {
        assert_eq!(entries(&[1, 99]), [1, 99]);
        assert_eq!(entries(&[50, 50]), [1, 1]);
        assert_eq!(entries(&[1, 100_000]), [1, 99]);
    }
}
