//! A digest of the content of a database. It does not depend on how or when the file was written.

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};

/// Returns the digest of the database's schema and of every row of these tables, in the order of their keys.
pub(super) fn digest<'a>(
    connection: &Connection,
    tables: impl Iterator<Item = &'a String>,
) -> rusqlite::Result<String> {
    // One transaction, so that concurrent writes do not change what is read.
    let snapshot = connection.unchecked_transaction()?;
    let mut hasher = Sha256::new();
    hash_rows(&mut hasher, &snapshot, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?;
    for table in tables {
        let quoted = table.replace('"', "\"\"");
        hasher.update(format!("table {} {table}", table.len()));
        hash_rows(&mut hasher, &snapshot, &format!("SELECT * FROM \"{quoted}\" NOT INDEXED"))?;
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn hash_rows(hasher: &mut Sha256, connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            let number: [u8; 8];
            let (kind, bytes): (u8, &[u8]) = match row.get_ref(column)? {
                ValueRef::Null => (0, &[]),
                ValueRef::Integer(integer) => {
                    number = integer.to_le_bytes();
                    (1, &number)
                }
                ValueRef::Real(real) => {
                    number = real.to_le_bytes();
                    (2, &number)
                }
                ValueRef::Text(text) => (3, text),
                ValueRef::Blob(blob) => (4, blob),
            };
            hasher.update([kind]);
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(statements: &str) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(statements).unwrap();
        digest(&connection, [String::from("notes")].iter()).unwrap()
    }

    #[test]
    fn depends_on_the_content_alone() {
        let notes = "CREATE TABLE notes(id INTEGER PRIMARY KEY, text);";
        let two = digest_of(&format!("{notes} INSERT INTO notes VALUES (1, 'a'), (2, 'b')"));
        let same =
            format!("{notes} INSERT INTO notes VALUES (2, 'b'), (3, 'c'), (1, 'a'); DELETE FROM notes WHERE id = 3");
        assert_eq!(two, digest_of(&same));
        for other in [
            format!("{notes} INSERT INTO notes VALUES (1, 'a'), (2, 'c')"),
            format!("{notes} INSERT INTO notes VALUES (1, 'ab'), (2, '')"),
            format!("{notes} INSERT INTO notes VALUES (1, 'a')"),
            format!("{notes} INSERT INTO notes VALUES (1, 'a'), (2, 'b'); CREATE INDEX by_text ON notes(text)"),
            format!("{notes} INSERT INTO notes VALUES (1, 'a'), (2, x'62')"),
        ] {
            assert_ne!(two, digest_of(&other), "{other}");
        }
    }
}
