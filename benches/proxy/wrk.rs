//! Runs wrk as the load and reads its output.

use std::process::Command;

const SECONDS: &str = "5s";

#[derive(Clone, Copy, Default)]
pub struct Figures {
    pub rate: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub errors: u64,
}

pub fn run(port: u16) -> Figures {
    let url = format!("http://127.0.0.1:{port}/");
    let output = Command::new("wrk").args(["-t2", "-c64", "-d", SECONDS, "--latency", &url]).output();
    let output = output.unwrap_or_else(|error| panic!("wrk is needed: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    let numbers = |word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_default();
        let digits = line.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok());
        digits.sum::<u64>()
    };
    Figures {
        rate: after("Requests/sec").and_then(|rate| rate.parse().ok()).unwrap_or_default(),
        p50_ms: after("50%").map(|text| millis(&text)).unwrap_or_default(),
        p99_ms: after("99%").map(|text| millis(&text)).unwrap_or_default(),
        errors: numbers("Socket errors") + numbers("Non-2xx"),
    }
}

/// Parses a time such as `1.20ms`, `350.00us` or `1.01s`.
fn millis(text: &str) -> f64 {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..unit].parse().unwrap_or_default();
    match &text[unit..] {
        "us" => number / 1_000.0,
        "s" => number * 1_000.0,
        _ => number,
    }
}
