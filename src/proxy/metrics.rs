//! The metrics of the proxy in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::controller::Controller;
use super::upstream::ENDS;

/// The time that latencies cover, in seconds.
const WINDOW: u64 = 60;

/// Returns all metrics.
pub async fn text(controller: &Controller) -> String {
    let mut text = String::new();
    match write(&mut text, controller).await {
        Ok(()) => text,
        Err(error) => format!("# {error}\n"),
    }
}

async fn write(text: &mut String, controller: &Controller) -> std::fmt::Result {
    let shared = &controller.shared;
    let routes = controller.show().await;
    let table = shared.table();
    gauge(text, "connections", "Open client connections.", shared.connections())?;
    counter(text, "connections_total", "Accepted client connections.", shared.accepted.load(Ordering::Relaxed))?;
    counter(text, "unrouted_total", "Requests without a route.", shared.unrouted.load(Ordering::Relaxed))?;
    if let Some(log) = &shared.log {
        counter(text, "log_dropped_total", "Access log lines dropped because the queue was full.", log.dropped())?;
    }
    head(text, "requests_total", "Requests by outcome.", "counter")?;
    for service in table.services.values() {
        for upstream in service.upstreams() {
            for (end, count) in ENDS.iter().zip(upstream.totals()) {
                let (service, target) = (&service.name, &upstream.name);
                writeln!(
                    text,
                    "deployer_proxy_requests_total{{service=\"{service}\",target=\"{target}\",end=\"{end}\"}} {count}"
                )?;
            }
        }
    }
    for (name, help) in [
        ("in_flight", "Requests in flight."),
        ("streams", "Open upgraded streams."),
        ("healthy", "1 when the target is healthy."),
    ] {
        head(text, name, help, "gauge")?;
        for route in &routes {
            for target in &route.targets {
                let value = match name {
                    "in_flight" => target.in_flight,
                    "streams" => target.streams,
                    _ => u64::from(target.healthy),
                };
                let service = &route.route.service;
                writeln!(text, "deployer_proxy_{name}{{service=\"{service}\",target=\"{}\"}} {value}", target.name)?;
            }
        }
    }
    head(text, "latency_seconds", "Latency in the last minute.", "summary")?;
    for service in table.services.values() {
        for upstream in service.upstreams() {
            let latency = upstream.stats(WINDOW).latency;
            for (quantile, value) in [("0.5", latency.p50_ms), ("0.9", latency.p90_ms), ("0.99", latency.p99_ms)] {
                let (service, target) = (&service.name, &upstream.name);
                writeln!(
                    text,
                    "deployer_proxy_latency_seconds{{service=\"{service}\",target=\"{target}\",quantile=\"{quantile}\"}} {}",
                    value / 1_000.0
                )?;
            }
        }
    }
    let figures = [
        ("fallbacks_total", "Requests sent to a fallback target."),
        ("retries_total", "Requests sent again."),
        ("turned_away_total", "Held requests answered with 503."),
    ];
    for (name, help) in figures {
        head(text, name, help, "counter")?;
        for service in table.services.values() {
            let value = match name {
                "fallbacks_total" => &service.fallbacks,
                "retries_total" => &service.retries,
                _ => &service.turned_away,
            };
            let value = value.load(Ordering::Relaxed);
            writeln!(text, "deployer_proxy_{name}{{service=\"{}\"}} {value}", service.name)?;
        }
    }
    Ok(())
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) -> std::fmt::Result {
    writeln!(text, "# HELP deployer_proxy_{name} {help}\n# TYPE deployer_proxy_{name} {kind}")
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) -> std::fmt::Result {
    head(text, name, help, "gauge")?;
    writeln!(text, "deployer_proxy_{name} {value}")
}

fn counter(text: &mut String, name: &str, help: &str, value: u64) -> std::fmt::Result {
    head(text, name, help, "counter")?;
    writeln!(text, "deployer_proxy_{name} {value}")
}
