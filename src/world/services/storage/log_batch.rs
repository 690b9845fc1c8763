//! A container's log as batches of events that CloudWatch Logs takes, within its documented limits. Knows no network.

use jiff::Timestamp;
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Most events of one batch.
const EVENTS: usize = 10_000;
/// Most bytes of one batch: of all messages, and so many more for each event.
const BATCH: usize = 1_048_576;
const OVERHEAD: usize = 26;
/// Most bytes of one event's message; the rest of a longer line goes on as an event of its own. The service takes more
/// by now, others that speak its language do not.
const EVENT: usize = 262_144 - OVERHEAD;
/// From the first to the last event of one batch.
const SPAN_MS: i64 = 24 * 3600 * 1000;
/// Older events are refused after 14 days; an hour less, for clocks that differ.
const OLDEST_MS: i64 = (14 * 24 - 1) * 3600 * 1000;
/// Later ones are refused, two hours ahead.
const NEWEST_MS: i64 = 3600 * 1000;
/// Bytes of a line that are read at a time.
const PIECE: u64 = 64 << 10;

/// One event, as the service takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Event {
    /// Milliseconds since 1970, UTC.
    pub timestamp: i64,
    pub message: String,
    /// When it really was, where the service cannot take that.
    #[serde(skip)]
    pub time: Option<String>,
}

impl Event {
    fn size(&self) -> usize {
        self.message.len() + OVERHEAD
    }

    /// The same as of now: its own time stands before its text.
    pub(super) fn moved(self, now_ms: i64) -> Self {
        let message = match self.time {
            Some(time) => format!("{time} {}", self.message),
            None => self.message,
        };
        Self { timestamp: now_ms, message: clipped(&message, EVENT).to_owned(), time: None }
    }
}

/// Reads a log and hands out its events, batch by batch.
pub(super) struct LogBatches<R> {
    lines: R,
    now_ms: i64,
    /// Of the event before: events come in order, and a line without a time has that of its neighbour.
    last_ms: i64,
    /// Read, and not in a batch yet.
    next: Option<Event>,
    /// The time of a line that is too long for one event, for the rest of it.
    rest: Option<(Option<String>, i64)>,
    /// The first bytes of a character that was read by half.
    half: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> LogBatches<R> {
    pub(super) fn new(lines: R, now_ms: i64) -> Self {
        Self { lines, now_ms, last_ms: i64::MIN, next: None, rest: None, half: Vec::new() }
    }

    /// The next batch; empty at the end of the log.
    pub(super) async fn next(&mut self) -> std::io::Result<Vec<Event>> {
        let mut batch: Vec<Event> = Vec::new();
        let mut bytes = 0;
        loop {
            let Some(event) = (match self.next.take() {
                Some(event) => Some(event),
                None => self.read().await?,
            }) else {
                return Ok(batch);
            };
            let first_ms = batch.first().map_or(event.timestamp, |first| first.timestamp);
            let is_full = batch.len() == EVENTS || bytes + event.size() > BATCH;
            if is_full || event.timestamp - first_ms >= SPAN_MS {
                self.next = Some(event);
                return Ok(batch);
            }
            bytes += event.size();
            batch.push(event);
        }
    }

    async fn read(&mut self) -> std::io::Result<Option<Event>> {
        let mut line = std::mem::take(&mut self.half);
        let read = (&mut self.lines).take(PIECE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(None);
        }
        let is_whole = line.ends_with(b"\n") || read == 0;
        match std::str::from_utf8(&line) {
            Err(error) if !is_whole && error.error_len().is_none() => self.half = line.split_off(error.valid_up_to()),
            _ => {}
        }
        // Bytes that are no UTF-8 take three bytes each as text: still less than an event takes.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        let (time, at_ms, text) = match self.rest.take() {
            Some((time, at_ms)) => (time, at_ms, text),
            None => self.stamped(text),
        };
        if !is_whole {
            self.rest = Some((time.clone(), at_ms));
        }
        // An event has at least one character.
        let message = if text.is_empty() { " " } else { text };
        let event = Event { timestamp: at_ms, message: clipped(message, EVENT).to_owned(), time };
        let (oldest, newest) = (self.now_ms - OLDEST_MS, self.now_ms + NEWEST_MS);
        let fits = (oldest..=newest).contains(&event.timestamp);
        let mut event = if fits { event } else { event.moved(at_ms.clamp(oldest, newest)) };
        event.timestamp = event.timestamp.max(self.last_ms);
        self.last_ms = event.timestamp;
        Ok(Some(event))
    }

    /// A line's own time, as it stands there and as a number, and its text; without one, that of its neighbour.
    fn stamped<'a>(&self, line: &'a str) -> (Option<String>, i64, &'a str) {
        let (word, text) = line.split_once(' ').unwrap_or((line, ""));
        match word.parse::<Timestamp>() {
            Ok(time) => (Some(word.to_owned()), time.as_millisecond(), text),
            Err(_) if self.last_ms == i64::MIN => (None, self.now_ms, line),
            Err(_) => (None, self.last_ms, line),
        }
    }
}

/// As many whole characters as fit.
fn clipped(text: &str, bytes: usize) -> &str {
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
            assert!(batch.len() <= EVENTS && sizes <= BATCH, "{} events, {sizes} bytes", batch.len());
            assert!(batch.is_sorted_by_key(|event| event.timestamp));
            assert!(batch[batch.len() - 1].timestamp - batch[0].timestamp < SPAN_MS);
            assert!(batch.iter().all(|event| !event.message.is_empty() && event.message.len() <= EVENT));
            all.push(batch);
        }
    }

    #[tokio::test]
    async fn lines_have_their_own_time_or_that_of_their_neighbour() {
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
    async fn what_is_too_old_keeps_its_time_in_its_text() {
        let log = "2026-01-01T00:00:00Z old\n2026-03-31T11:00:00Z new\n2027-01-01T00:00:00Z ahead\n";
        let all = batches(log.as_bytes()).await;
        let texts: Vec<_> = all.iter().flatten().map(|event| event.message.as_str()).collect();
        assert_eq!(texts, ["2026-01-01T00:00:00Z old", "new", "2027-01-01T00:00:00Z ahead"]);
        assert_eq!(all.len(), 2, "more than a day lies between");
    }

    #[tokio::test]
    async fn batches_keep_to_every_limit() {
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
