//! HAProxy's runtime socket: sends commands, and parses the tables of the answers. Knows no route.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::cancellation::with_timeout;
use crate::world::services::error_text::root_cause;

/// Timeout of one command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer in bytes: enough for thousands of servers.
const ANSWER_LIMIT: u64 = 8 * 1024 * 1024;
/// Most commands in a line. HAProxy reads 16 KiB of it.
const COMMANDS_PER_LINE: usize = 40;

/// Bits of the administrative state: maintenance that is forced, inherited, or caused by name resolution.
const MAINTENANCE_BITS: u32 = 0x63;
/// Bits of the administrative state: forced or inherited drain.
const DRAIN_BITS: u32 = 0x18;

/// HAProxy's runtime socket.
pub(super) struct RuntimeSocket {
    pub path: PathBuf,
}

/// A server of a backend, as HAProxy reports it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub name: String,
    /// `None` while its host name is unresolved.
    pub address: Option<SocketAddr>,
    pub weight: u32,
    pub up: bool,
    pub in_maintenance: bool,
    pub draining: bool,
    /// Whether its address in the configuration is a host name. Only then a reload keeps an address set at run time.
    pub has_host_name: bool,
    /// Requests and streams in flight, and those queued for it.
    pub in_flight: u64,
    pub served: u64,
}

impl RuntimeSocket {
    /// Sends commands. Returns HAProxy's output.
    pub(super) async fn send_all(
        &self,
        call: &Call,
        clock: &dyn Clock,
        commands: &[String],
    ) -> Result<String, EffectError> {
        let mut output = String::new();
        for line in commands.chunks(COMMANDS_PER_LINE) {
            output.push_str(&self.send(call, clock, &line.join(";")).await?);
        }
        Ok(output)
    }

    /// Sends one line of commands. Returns HAProxy's output.
    pub(super) async fn send(&self, call: &Call, clock: &dyn Clock, line: &str) -> Result<String, EffectError> {
        let socket = self.path.display();
        let timed_out = || {
            EffectError::new(
                ErrorKind::Timeout,
                format!("HAProxy did not answer at `{socket}` within {COMMAND_TIMEOUT:?}"),
            )
            .hint("check that it is running: systemctl status haproxy")
        };
        let conversation = async {
            let mut stream = UnixStream::connect(&self.path).await?;
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.take(ANSWER_LIMIT).read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let exchange = async {
            conversation.await.map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => ErrorKind::Refused,
                    _ => ErrorKind::Unavailable,
                };
                EffectError::new(kind, format!("cannot reach HAProxy at `{socket}`: {}", root_cause(&error))).hint(format!(
                    "add `stats socket {socket} level admin` to its `global` section, and check that it is running: \
                     systemctl status haproxy"
                ))
            })
        };
        with_timeout(call, clock, COMMAND_TIMEOUT, timed_out, exchange).await
    }

    /// Returns the servers of a backend in the order of the configuration.
    pub(super) async fn slots(&self, call: &Call, clock: &dyn Clock, backend: &str) -> Result<Vec<Slot>, EffectError> {
        let states = self.send(call, clock, &format!("show servers state {backend}")).await?;
        let states = Table::parse(&states, ' ').map_err(|why| {
            EffectError::new(ErrorKind::NotFound, format!("HAProxy lists no servers for a backend `{backend}`: {why}"))
                .hint("add servers with `server-template`, as in examples/haproxy/haproxy.cfg")
        })?;
        // Backends are selected by number, since a frontend may have the same name.
        let Some(number) = states
            .rows()
            .next()
            .map(|row| row.text("be_id").map(str::to_owned))
            .transpose()
            .map_err(|why| unexpected_output(&why, ""))?
        else {
            return Ok(Vec::new());
        };
        let stats = self.send(call, clock, &format!("show stat {number} {ALL_SERVERS}")).await?;
        let stats = Table::parse(&stats, ',').map_err(|why| unexpected_output(&why, &stats))?;
        let slots = states.rows().map(|state| {
            let name = state.text("srv_name")?;
            let stat = stats.rows().find(|row| row.text("svname") == Ok(name)).ok_or("a server without statistics")?;
            let address: Option<IpAddr> = state.text("srv_addr")?.parse().ok();
            let admin = state.number::<u32>("srv_admin_state")?;
            Ok(Slot {
                name: name.to_owned(),
                address: address
                    .map(|ip| Ok::<_, String>((ip, state.number::<u16>("srv_port")?).into()))
                    .transpose()?,
                weight: state.number("srv_uweight")?,
                up: state.number::<u32>("srv_op_state")? != 0,
                in_maintenance: admin & MAINTENANCE_BITS != 0,
                draining: admin & DRAIN_BITS != 0,
                has_host_name: state.text("srv_fqdn")? != "-",
                in_flight: stat.number::<u64>("scur")? + stat.number::<u64>("qcur")?,
                served: stat.number("stot")?,
            })
        });
        slots.collect::<Result<Vec<Slot>, String>>().map_err(|why| unexpected_output(&why, ""))
    }
}

/// Arguments of `show stat` that select all servers of a backend.
const ALL_SERVERS: &str = "4 -1";

fn unexpected_output(why: &str, output: &str) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("unexpected output of HAProxy: {why}")).detail(output)
}

/// Rows below a line of column names that starts with `#`.
struct Table<'a> {
    columns: Vec<&'a str>,
    lines: Vec<Vec<&'a str>>,
}

struct Row<'a> {
    columns: &'a [&'a str],
    words: &'a [&'a str],
}

impl<'a> Table<'a> {
    fn parse(text: &'a str, separator: char) -> Result<Self, String> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with('#'));
        let header = lines.next().ok_or_else(|| text.trim().to_owned())?;
        Ok(Self {
            columns: header.trim_start_matches(['#', ' ']).split(separator).collect(),
            lines: lines.filter(|line| !line.trim().is_empty()).map(|line| line.split(separator).collect()).collect(),
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.lines.iter().map(|words| Row { columns: &self.columns, words })
    }
}

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Result<&'a str, String> {
        let index = self.columns.iter().position(|name| *name == column);
        index.and_then(|index| self.words.get(index).copied()).ok_or_else(|| format!("no column `{column}`"))
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Result<T, String> {
        let text = self.text(column)?;
        text.parse().map_err(|_| format!("`{text}` in column `{column}` is not a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_table() {
        let text = "1\n# be_name srv_name srv_port\nweb slot1 80\nweb slot2 x\n\n";
        let table = Table::parse(text, ' ').unwrap();
        let ports: Vec<_> = table.rows().map(|row| row.number::<u16>("srv_port").ok()).collect();
        assert_eq!(ports, [Some(80), None]);
        assert_eq!(table.rows().next().unwrap().text("srv_name"), Ok("slot1"));
        assert!(table.rows().next().unwrap().text("weight").is_err());
        assert_eq!(Table::parse("Can't find backend.\n", ' ').err().as_deref(), Some("Can't find backend."));
    }
}
