//! HAProxy's runtime socket: commands as text, and the tables that it answers. Knows no route.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::super::super::reason::reason;
use super::super::super::wait::within;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// Until a command is answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: thousands of servers.
const ANSWER_LIMIT: u64 = 8 * 1024 * 1024;
/// Commands of one line: HAProxy reads 16 KiB of it.
const COMMANDS_OF_A_LINE: usize = 40;

/// Forced or inherited maintenance, by name resolution, or by its host name.
const MAINTENANCE: u32 = 0x63;
/// Forced or inherited.
const DRAIN: u32 = 0x18;

pub(super) struct Runtime {
    pub socket: PathBuf,
}

/// A server of a backend, as HAProxy has it now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub name: String,
    /// None while it has a name that was never looked up.
    pub address: Option<SocketAddr>,
    pub weight: u32,
    pub up: bool,
    pub in_maintenance: bool,
    pub draining: bool,
    /// Whether its address in the configuration is a name: only then a reload keeps the address that it was given.
    pub is_named: bool,
    /// Requests and streams that it has not ended, and those that wait for it.
    pub in_flight: u64,
    pub served: u64,
}

impl Runtime {
    /// Sends commands; returns what HAProxy says.
    pub(super) async fn tell(
        &self,
        call: &Call,
        clock: &dyn Clock,
        commands: &[String],
    ) -> Result<String, EffectError> {
        let mut said = String::new();
        for line in commands.chunks(COMMANDS_OF_A_LINE) {
            said.push_str(&self.ask(call, clock, &line.join(";")).await?);
        }
        Ok(said)
    }

    pub(super) async fn ask(&self, call: &Call, clock: &dyn Clock, line: &str) -> Result<String, EffectError> {
        let socket = self.socket.display();
        let late = || {
            EffectError::new(ErrorKind::Timeout, format!("HAProxy did not answer at `{socket}` within {PATIENCE:?}"))
                .hint("see whether it runs: systemctl status haproxy")
        };
        let conversation = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.take(ANSWER_LIMIT).read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let asked = async {
            conversation.await.map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => ErrorKind::Refused,
                    _ => ErrorKind::Unavailable,
                };
                EffectError::new(kind, format!("no HAProxy answers at `{socket}`: {}", reason(&error))).hint(format!(
                    "it needs `stats socket {socket} level admin` in its section `global`, and to run: \
                     systemctl status haproxy"
                ))
            })
        };
        within(call, clock, PATIENCE, late, asked).await
    }

    /// The servers of a backend, as they stand in the configuration.
    pub(super) async fn slots(&self, call: &Call, clock: &dyn Clock, backend: &str) -> Result<Vec<Slot>, EffectError> {
        let states = self.ask(call, clock, &format!("show servers state {backend}")).await?;
        let states = Table::parse(&states, ' ').map_err(|why| {
            EffectError::new(ErrorKind::NotFound, format!("HAProxy shows no servers of a backend `{backend}`: {why}"))
                .hint("give it one with `server-template`, as in examples/haproxy/haproxy.cfg")
        })?;
        // By its number: a frontend may have the same name.
        let Some(number) = states
            .rows()
            .next()
            .map(|row| row.text("be_id").map(str::to_owned))
            .transpose()
            .map_err(|why| odd(&why, ""))?
        else {
            return Ok(Vec::new());
        };
        let stats = self.ask(call, clock, &format!("show stat {number} {SERVERS_OF_A_BACKEND}")).await?;
        let stats = Table::parse(&stats, ',').map_err(|why| odd(&why, &stats))?;
        let slots = states.rows().map(|state| {
            let name = state.text("srv_name")?;
            let stat = stats.rows().find(|row| row.text("svname") == Ok(name)).ok_or("a server without figures")?;
            let address: Option<IpAddr> = state.text("srv_addr")?.parse().ok();
            let admin = state.number::<u32>("srv_admin_state")?;
            Ok(Slot {
                name: name.to_owned(),
                address: address
                    .map(|ip| Ok::<_, String>((ip, state.number::<u16>("srv_port")?).into()))
                    .transpose()?,
                weight: state.number("srv_uweight")?,
                up: state.number::<u32>("srv_op_state")? != 0,
                in_maintenance: admin & MAINTENANCE != 0,
                draining: admin & DRAIN != 0,
                is_named: state.text("srv_fqdn")? != "-",
                in_flight: stat.number::<u64>("scur")? + stat.number::<u64>("qcur")?,
                served: stat.number("stot")?,
            })
        });
        slots.collect::<Result<Vec<Slot>, String>>().map_err(|why| odd(&why, ""))
    }
}

/// Of `show stat`: rows of servers, all of them.
const SERVERS_OF_A_BACKEND: &str = "4 -1";

fn odd(why: &str, answer: &str) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("HAProxy's answer is not understood: {why}")).detail(answer)
}

/// Lines under a line of column names that begins with `#`.
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
        let head = lines.next().ok_or_else(|| text.trim().to_owned())?;
        Ok(Self {
            columns: head.trim_start_matches(['#', ' ']).split(separator).collect(),
            lines: lines.filter(|line| !line.trim().is_empty()).map(|line| line.split(separator).collect()).collect(),
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.lines.iter().map(|words| Row { columns: &self.columns, words })
    }
}

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Result<&'a str, String> {
        let at = self.columns.iter().position(|name| *name == column);
        at.and_then(|at| self.words.get(at).copied()).ok_or_else(|| format!("no column `{column}`"))
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Result<T, String> {
        let text = self.text(column)?;
        text.parse().map_err(|_| format!("`{text}` is no number for `{column}`"))
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
