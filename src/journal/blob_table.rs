//! The large values of entries in the database: each text once under its digest, and which entry it belongs to.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::spill::{Form, Spilled, digest, put_back};
use crate::base::run_id::RunId;

/// A value as it was read, not yet checked.
pub struct Kept {
    place: String,
    form: String,
    digest: String,
    text: Option<String>,
}

/// Keeps the large values of an entry.
///
/// # Errors
/// When they cannot be written.
pub fn keep(connection: &Connection, run: &RunId, n: i64, spilled: &[Spilled<'_>]) -> rusqlite::Result<()> {
    let mut text = connection.prepare_cached("INSERT OR IGNORE INTO blobs (digest, text) VALUES (?1, ?2)")?;
    let mut place = connection
        .prepare_cached("INSERT INTO spilled (run, n, place, form, digest, size) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for part in spilled {
        let digest = digest(&part.text);
        text.execute(params![digest, part.text])?;
        let size = i64::try_from(part.text.len()).unwrap_or(i64::MAX);
        place.execute(params![run.as_str(), n, part.place, part.form.name(), digest, size])?;
    }
    Ok(())
}

/// Bytes that the large values of a run have so far.
///
/// # Errors
/// When they cannot be read.
pub fn total(connection: &Connection, run: &RunId) -> rusqlite::Result<usize> {
    let total: i64 = connection
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM spilled WHERE run = ?1")?
        .query_row([run.as_str()], |row| row.get(0))?;
    Ok(usize::try_from(total).unwrap_or(usize::MAX))
}

/// The large values of a run, by the numbers of its entries.
///
/// # Errors
/// When they cannot be read.
pub fn of_run(connection: &Connection, run: &RunId) -> rusqlite::Result<BTreeMap<i64, Vec<Kept>>> {
    let mut select = connection.prepare_cached(
        "SELECT n, place, form, digest, text FROM spilled LEFT JOIN blobs USING (digest) WHERE run = ?1",
    )?;
    let mut rows = select.query([run.as_str()])?;
    let mut all: BTreeMap<i64, Vec<Kept>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let kept = Kept { place: row.get(1)?, form: row.get(2)?, digest: row.get(3)?, text: row.get(4)? };
        all.entry(row.get(0)?).or_default().push(kept);
    }
    Ok(all)
}

/// Puts the values back into the JSON of their entry.
///
/// # Errors
/// Says which one is missing, or is not what was written.
pub fn restore(body: &mut serde_json::Value, kept: Vec<Kept>) -> Result<(), String> {
    for Kept { place, form, digest: expected, text } in kept {
        let text = text.ok_or_else(|| format!("its value `{place}` is missing"))?;
        if digest(&text) != expected {
            return Err(format!("its value `{place}` is not what was written"));
        }
        let form = Form::parse(&form).ok_or_else(|| format!("its value `{place}` has the unknown form `{form}`"))?;
        put_back(body, &place, form, text)?;
    }
    Ok(())
}
