//! The worker processes of nginx and their connections, read from `/proc`. Knows no configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The title of a worker process.
const TITLE: &str = "nginx: worker process";
/// Part of the title of a worker that accepts no new connections.
const SHUTTING_DOWN: &str = "is shutting down";
/// States of open connections in `/proc/net/tcp`: ESTABLISHED and SYN_SENT.
const OPEN_STATES: [&str; 2] = ["01", "02"];

/// Returns whether this process is a worker of nginx, and not another process with the same id.
pub(super) fn is_worker(pid: u32) -> bool {
    title(pid).is_some_and(|title| title.starts_with(TITLE))
}

/// Returns the workers of the same nginx that accept connections.
pub(super) fn serving_siblings(worker: u32) -> BTreeSet<u32> {
    let Some(master) = parent(worker) else { return BTreeSet::new() };
    let Ok(all) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    let numbers = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| is_serving(*pid) && parent(*pid) == Some(master)).collect()
}

/// Returns whether the process is a worker that accepts connections.
pub(super) fn is_serving(pid: u32) -> bool {
    title(pid).is_some_and(|title| title.starts_with(TITLE) && !title.contains(SHUTTING_DOWN))
}

/// Counts the connections to an address in the worker's network namespace: requests, streams and idle connections.
/// Returns `None` if the process has ended.
pub(super) fn connections(worker: u32, to: SocketAddr) -> Option<u64> {
    let table = |name: &str| std::fs::read_to_string(format!("/proc/{worker}/net/{name}")).ok();
    let (four, six) = (table("tcp")?, table("tcp6").unwrap_or_default());
    let count = four.lines().chain(six.lines()).filter(|line| is_open_connection(line, to)).count();
    u64::try_from(count).ok()
}

/// Returns whether a line `0: LOCAL REMOTE STATE ...` is an open connection to this address.
fn is_open_connection(line: &str, to: SocketAddr) -> bool {
    let mut words = line.split_ascii_whitespace().skip(2);
    let (Some(remote), Some(state)) = (words.next(), words.next()) else { return false };
    OPEN_STATES.contains(&state) && parse_address(remote) == Some(to)
}

/// Parses `0100007F:1F90`: groups of four bytes in the machine's byte order, and the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?).into())
}

fn title(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process name in parentheses may contain anything; state and parent follow it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_connections_of_a_process_to_an_address() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let to = listener.local_addr().unwrap();
            let pid = std::process::id();
            assert_eq!(connections(pid, to), Some(0));
            let _open = [0; 3].map(|_| std::net::TcpStream::connect(to).unwrap());
            assert_eq!(connections(pid, to), Some(3), "{address}");
        }
        assert_eq!(connections(u32::MAX, ([127, 0, 0, 1], 1).into()), None);
    }

    #[test]
    fn knows_its_own_parent() {
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert!(!is_worker(std::process::id()));
    }
}
