//! Splits a container's log into batches of events within the documented limits of CloudWatch Logs. Knows no network.

use jiff::Timestamp;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Most events in a batch.
const MAX_EVENTS: usize = 10_000;
/// Largest batch in bytes: all messages, plus an overhead for each event.
const MAX_BATCH_BYTES: usize = 1_048_576;
const EVENT_OVERHEAD: usize = 26;
/// Longest message of an event in bytes. A longer line continues in the next event. The service accepts more by now,
/// but compatible services do not.
const MAX_MESSAGE_BYTES: usize = 262_144 - EVENT_OVERHEAD;
/// Longest time from the first to the last event of a batch.
const MAX_SPAN_MS: i64 = 24 * 3600 * 1000;
/// Age of the oldest event. The service refuses events older than 14 days; one hour less allows for different clocks.
const MAX_AGE_MS: i64 = (14 * 24 - 1) * 3600 * 1000;
/// How far ahead an event may be. The service refuses events more than two hours ahead.
const MAX_AHEAD_MS: i64 = 3600 * 1000;
/// Bytes of a line read at a time.
const CHUNK: u64 = 64 << 10;

/// A log event in the form of the service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Event {
    /// Milliseconds since 1970, UTC.
    pub timestamp: i64,
    pub message: String,
    /// The line's own time as text. It precedes the message when the service refuses this time.
    #[serde(skip)]
    pub time: Option<String>,
}

impl Event {
    fn size(&self) -> usize {
        self.message.len() + EVENT_OVERHEAD
    }

    /// Returns the event with another timestamp. Its own time then precedes its message.
    pub(super) fn with_timestamp(self, timestamp: i64) -> Self {
        let message = match self.time {
            Some(time) => format!("{time} {}", self.message),
            None => self.message,
        };
        Self { timestamp, message: truncate_bytes(&message, MAX_MESSAGE_BYTES).to_owned(), time: None }
    }
}

/// Reads a log and returns its events, batch by batch.
pub(super) struct LogBatches<R> {
    lines: R,
    now_ms: i64,
    /// Timestamp of the previous event. Events must be in order, and a line without a time gets this one.
    last_ms: i64,
    /// An event that was read and is not in a batch yet.
    pending: Option<Event>,
    /// Time of a line that is too long for one event, for the rest of the line.
    continued: Option<(Option<String>, i64)>,
    /// First bytes of a character that was not read completely.
    incomplete: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> LogBatches<R> {
    pub(super) fn new(lines: R, now_ms: i64) -> Self {
        Self { lines, now_ms, last_ms: i64::MIN, pending: None, continued: None, incomplete: Vec::new() }
    }

    /// Returns the next batch, or an empty one at the end of the log.
    pub(super) async fn next(&mut self) -> std::io::Result<Vec<Event>> {
        let mut batch: Vec<Event> = Vec::new();
        let mut bytes = 0;
        loop {
            let Some(event) = (match self.pending.take() {
                Some(event) => Some(event),
                None => self.read_event().await?,
            }) else {
                return Ok(batch);
            };
            let first_ms = batch.first().map_or(event.timestamp, |first| first.timestamp);
            let is_full = batch.len() == MAX_EVENTS || bytes + event.size() > MAX_BATCH_BYTES;
            if is_full || event.timestamp - first_ms >= MAX_SPAN_MS {
                self.pending = Some(event);
                return Ok(batch);
            }
            bytes += event.size();
            batch.push(event);
        }
    }

    async fn read_event(&mut self) -> std::io::Result<Option<Event>> {
        let mut line = std::mem::take(&mut self.incomplete);
        let read = (&mut self.lines).take(CHUNK).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(None);
        }
        let is_complete = line.ends_with(b"\n") || read == 0;
        match std::str::from_utf8(&line) {
            Err(error) if !is_complete && error.error_len().is_none() => {
                self.incomplete = line.split_off(error.valid_up_to())
            }
            _ => {}
        }
        // Each byte that is not UTF-8 becomes three bytes. A chunk still fits into one event.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        let (time, at_ms, text) = match self.continued.take() {
            Some((time, at_ms)) => (time, at_ms, text),
            None => self.split_time(text),
        };
        if !is_complete {
            self.continued = Some((time.clone(), at_ms));
        }
        // The service refuses an empty message.
        let message = if text.is_empty() { " " } else { text };
        let event = Event { timestamp: at_ms, message: truncate_bytes(message, MAX_MESSAGE_BYTES).to_owned(), time };
        let (oldest, newest) = (self.now_ms - MAX_AGE_MS, self.now_ms + MAX_AHEAD_MS);
        let in_range = (oldest..=newest).contains(&event.timestamp);
        let mut event = if in_range { event } else { event.with_timestamp(at_ms.clamp(oldest, newest)) };
        event.timestamp = event.timestamp.max(self.last_ms);
        self.last_ms = event.timestamp;
        Ok(Some(event))
    }

    /// Splits a line into its time (as text and as a number) and its message. A line without a time gets that of the
    /// previous event.
    fn split_time<'a>(&self, line: &'a str) -> (Option<String>, i64, &'a str) {
        let (word, text) = line.split_once(' ').unwrap_or((line, ""));
        match word.parse::<Timestamp>() {
            Ok(time) => (Some(word.to_owned()), time.as_millisecond(), text),
            Err(_) if self.last_ms == i64::MIN => (None, self.now_ms, line),
            Err(_) => (None, self.last_ms, line),
        }
    }
}

/// Returns as many whole characters as fit into this many bytes.
fn truncate_bytes(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-31T12:00:00Z";

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    async fn batches(log: &[u8]) -> Vec<Vec<Event>> {
        let mut batches = LogBatches::new(log, ms(NOW));
        let mut all = Vec::new();
        loop {
            let batch = batches.next().await.unwrap();
            if batch.is_empty() {
                return all;
            }
            let sizes: usize = batch.iter().map(Event::size).sum();
            assert!(batch.len() <= MAX_EVENTS && sizes <= MAX_BATCH_BYTES, "{} events, {sizes} bytes", batch.len());
            assert!(batch.is_sorted_by_key(|event| event.timestamp));
            assert!(batch[batch.len() - 1].timestamp - batch[0].timestamp < MAX_SPAN_MS);
            assert!(batch.iter().all(|event| !event.message.is_empty() && event.message.len() <= MAX_MESSAGE_BYTES));
            all.push(batch);
        }
    }

    #[tokio::test]
    async fn lines_without_a_time_get_that_of_the_previous_one() {
        let log = "2026-03-31T10:00:00.5Z one\n  two\n\n2026-03-31T09:00:00Z late\n2026-03-31T10:00:01Z\n";
        let all = batches(log.as_bytes()).await;
        let seen: Vec<_> = all[0].iter().map(|event| (event.timestamp, event.message.as_str())).collect();
        let first = ms("2026-03-31T10:00:00.5Z");
        let last = ms("2026-03-31T10:00:01Z");
        assert_eq!(seen, [(first, "one"), (first, "  two"), (first, " "), (first, "late"), (last, " ")]);
        assert_eq!(batches(b"no time\n").await[0][0].timestamp, ms(NOW));
        assert!(batches(b"").await.is_empty());
    }

    #[tokio::test]
    async fn an_event_out_of_range_keeps_its_time_in_its_message() {
        let log = "2026-01-01T00:00:00Z old\n2026-03-31T11:00:00Z new\n2027-01-01T00:00:00Z ahead\n";
        let all = batches(log.as_bytes()).await;
        let texts: Vec<_> = all.iter().flatten().map(|event| event.message.as_str()).collect();
        assert_eq!(texts, ["2026-01-01T00:00:00Z old", "new", "2027-01-01T00:00:00Z ahead"]);
        assert_eq!(all.len(), 2, "they are more than a day apart");
    }

    #[tokio::test]
    async fn batches_stay_within_every_limit() {
        let short: String = (0..25_000).map(|line| format!("2026-03-31T10:00:00Z {line}\n")).collect();
        let sizes: Vec<_> = batches(short.as_bytes()).await.iter().map(Vec::len).collect();
        assert_eq!(sizes, [10_000, 10_000, 5_000]);
        let long = format!("2026-03-31T10:00:00Z {}\nend\n", "ä".repeat(2_000_000));
        let all = batches(long.as_bytes()).await;
        let text: String = all.iter().flatten().map(|event| event.message.as_str()).collect();
        assert!(all.len() >= 4 && text == format!("{}end", "ä".repeat(2_000_000)), "{} bytes", text.len());
        let days: String = (1..=9).map(|day| format!("2026-03-{:02}T10:00:00Z x\n", day + 20)).collect();
        assert_eq!(batches(days.as_bytes()).await.len(), 9);
        batches(&[0xff; 300_000]).await;
    }
}
