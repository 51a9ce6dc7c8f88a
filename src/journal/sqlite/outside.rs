//! The database as another process sees it: read only, beside the gateway that writes it or without one.

use std::path::Path;

use rusqlite::Connection;

use super::schema::{self, APPLICATION_ID, VERSION, failed};
use crate::journal::OpenError;

/// Opens a database that is there, and that this version reads. The lock is the writer's and is left to it.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    // SQLite says the same of everything that it cannot open.
    match path.metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(OpenError::Missing(path.to_owned()));
        }
        Err(error) => return Err(OpenError::Storage { path: path.to_owned(), error: error.to_string() }),
    }
    let fail = |error| failed(path, &error);
    let connection = schema::open_reader(path).map_err(fail)?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if pragma("application_id").map_err(fail)? != APPLICATION_ID {
        return Err(OpenError::NotOurs(path.to_owned()));
    }
    let version = pragma("user_version").map_err(fail)?;
    if version != VERSION {
        return Err(OpenError::Version { path: path.to_owned(), version, ours: VERSION });
    }
    Ok(connection)
}
