//! A copy of the database as it is at one moment. The gateway goes on meanwhile.

use std::path::Path;

use super::outside;
use super::schema::failed;
use crate::journal::OpenError;

/// Writes the database into a file that is there and empty. One read transaction: the write-ahead log grows until it
/// is over. Syncing the copy is the caller's.
pub fn copy(path: &Path, into: &Path) -> Result<(), OpenError> {
    let connection = outside::open(path)?;
    let Some(name) = into.to_str() else {
        let error = format!("{into:?} is not UTF-8: write another name");
        return Err(OpenError::Storage { path: path.to_owned(), error });
    };
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| failed(path, &error))?;
    Ok(())
}
