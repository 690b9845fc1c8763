//! The worker processes of an nginx and their connections, as the kernel tells of them. Knows no configuration.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// As nginx titles its processes.
const TITLE: &str = "nginx: worker process";
/// Part of the title of one that takes no new connections any more.
const LEAVING: &str = "is shutting down";
/// States of a connection, as `/proc/net/tcp` numbers them: established, and about to be.
const OPEN: [&str; 2] = ["01", "02"];

/// Whether this process of this machine is a worker of nginx, and not somebody else's of the same number.
pub(super) fn is_worker(pid: u32) -> bool {
    title(pid).is_some_and(|title| title.starts_with(TITLE))
}

/// The workers of the same nginx that take connections.
pub(super) fn serving(worker: u32) -> BTreeSet<u32> {
    let Some(master) = parent(worker) else { return BTreeSet::new() };
    let Ok(all) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    let numbers = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| is_serving(*pid) && parent(*pid) == Some(master)).collect()
}

/// False when it is gone too.
pub(super) fn is_serving(pid: u32) -> bool {
    title(pid).is_some_and(|title| title.starts_with(TITLE) && !title.contains(LEAVING))
}

/// Connections from where this process runs to that address: requests, streams, and those that are kept for later.
/// None when the process is gone.
pub(super) fn connections(worker: u32, to: SocketAddr) -> Option<u64> {
    let table = |name: &str| std::fs::read_to_string(format!("/proc/{worker}/net/{name}")).ok();
    let (four, six) = (table("tcp")?, table("tcp6").unwrap_or_default());
    let count = four.lines().chain(six.lines()).filter(|line| opens(line, to)).count();
    u64::try_from(count).ok()
}

/// `  0: LOCAL REMOTE STATE ...`
fn opens(line: &str, to: SocketAddr) -> bool {
    let mut words = line.split_ascii_whitespace().skip(2);
    let (Some(remote), Some(state)) = (words.next(), words.next()) else { return false };
    OPEN.contains(&state) && place(remote) == Some(to)
}

/// `0100007F:1F90`: words of four bytes in the order of the machine, and the port.
fn place(text: &str) -> Option<SocketAddr> {
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
    // The name in brackets may hold anything; state and parent follow.
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
            let own = std::process::id();
            assert_eq!(connections(own, to), Some(0));
            let _kept = [0; 3].map(|_| std::net::TcpStream::connect(to).unwrap());
            assert_eq!(connections(own, to), Some(3), "{address}");
        }
        assert_eq!(connections(u32::MAX, ([127, 0, 0, 1], 1).into()), None);
    }

    #[test]
    fn knows_its_own_parent() {
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert!(!is_worker(std::process::id()));
    }
}
