//! The large values of entries in the database: each text once under its digest, and the entries that it belongs to.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::spill::{Form, Spilled, digest, put_back};
use crate::base::run_id::RunId;

/// A large value as it was read, not yet checked.
pub(super) struct StoredValue {
    /// Where in the entry it belongs, as a JSON pointer.
    pointer: String,
    form: String,
    digest: String,
    text: Option<String>,
}

/// Stores the large values of an entry.
///
/// # Errors
/// When they cannot be written.
pub(super) fn store(connection: &Connection, run: &RunId, n: i64, spilled: &[Spilled<'_>]) -> rusqlite::Result<()> {
    let mut text = connection.prepare_cached("INSERT OR IGNORE INTO blobs (digest, text) VALUES (?1, ?2)")?;
    let mut pointer = connection
        .prepare_cached("INSERT INTO spilled (run, n, place, form, digest, size) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for part in spilled {
        let digest = digest(&part.text);
        text.execute(params![digest, part.text])?;
        let size = i64::try_from(part.text.len()).unwrap_or(i64::MAX);
        pointer.execute(params![run.as_str(), n, part.pointer, part.form.name(), digest, size])?;
    }
    Ok(())
}

/// Returns the total size of the large values of a run so far, in bytes.
///
/// # Errors
/// When it cannot be read.
pub(super) fn total_size(connection: &Connection, run: &RunId) -> rusqlite::Result<usize> {
    let total: i64 = connection
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM spilled WHERE run = ?1")?
        .query_row([run.as_str()], |row| row.get(0))?;
    Ok(usize::try_from(total).unwrap_or(usize::MAX))
}

/// Reads the large values of a run, by the numbers of its entries.
///
/// # Errors
/// When they cannot be read.
pub(super) fn load(connection: &Connection, run: &RunId) -> rusqlite::Result<BTreeMap<i64, Vec<StoredValue>>> {
    let mut select = connection.prepare_cached(
        "SELECT n, place, form, digest, text FROM spilled LEFT JOIN blobs USING (digest) WHERE run = ?1",
    )?;
    let mut rows = select.query([run.as_str()])?;
    let mut all: BTreeMap<i64, Vec<StoredValue>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let value = StoredValue { pointer: row.get(1)?, form: row.get(2)?, digest: row.get(3)?, text: row.get(4)? };
        all.entry(row.get(0)?).or_default().push(value);
    }
    Ok(all)
}

/// Puts the values back into the JSON of their entry.
///
/// # Errors
/// Returns which value is missing or was changed.
pub(super) fn restore(body: &mut serde_json::Value, values: Vec<StoredValue>) -> Result<(), String> {
    for StoredValue { pointer, form, digest: expected, text } in values {
        let text = text.ok_or_else(|| format!("its value `{pointer}` is missing"))?;
        if digest(&text) != expected {
            return Err(format!("its value `{pointer}` is not what was written"));
        }
        let form = Form::parse(&form).ok_or_else(|| format!("its value `{pointer}` has the unknown form `{form}`"))?;
        put_back(body, &pointer, form, text)?;
    }
    Ok(())
}
