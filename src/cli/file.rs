//! A file that a command makes: whole under its name, or not there at all.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::crypto::{hex, random};

/// A file on its way. It has another name in the same directory until it is whole, and is gone if it never is.
#[derive(Debug)]
pub(super) struct NewFile {
    /// Nobody else may look into it, and SQLite makes names of its own beside it.
    directory: PathBuf,
    pub(super) path: PathBuf,
    target: PathBuf,
    replace: bool,
}

impl NewFile {
    /// An empty file for its owner alone. `replace` allows a target that is there.
    pub(super) fn create(target: &Path, replace: bool) -> Result<Self, String> {
        let fail = |error: io::Error| format!("{}: {error}", target.display());
        let target = std::path::absolute(target).map_err(fail)?;
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            return Err(format!("{}: is no name of a file", target.display()));
        };
        match target.symlink_metadata() {
            Ok(found) if !found.is_file() => {
                return Err(format!("{}: is there, and is no file", target.display()));
            }
            Ok(_) if !replace => return Err(exists(&target)),
            _ => {}
        }
        let directory = parent.join(format!(".tokencast-{}", hex(&random::<8>())));
        DirBuilder::new().mode(0o700).create(&directory).map_err(fail)?;
        let file = Self { path: directory.join("new"), directory, target: target.clone(), replace };
        File::options().create_new(true).write(true).mode(0o600).open(&file.path).map_err(fail)?;
        Ok(file)
    }

    /// Syncs it and gives it its name.
    pub(super) fn finish(self) -> Result<(), String> {
        let fail = |error: io::Error| format!("{}: {error}", self.target.display());
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(fail)?;
        if self.replace {
            fs::rename(&self.path, &self.target).map_err(fail)?;
        } else {
            // Unlike a rename, a link replaces nothing that came meanwhile.
            match fs::hard_link(&self.path, &self.target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(exists(&self.target));
                }
                // Not all file systems have links.
                Err(_) => fs::rename(&self.path, &self.target).map_err(fail)?,
            }
        }
        let parent = self.target.parent().expect("it was made from one");
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn exists(target: &Path) -> String {
    format!("{}: is there already: write another name, or --force to replace it", target.display())
}
