//! What is found where a run is to be gone on with, and putting it in order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use super::journal::{self, Journal};
use super::{
    JOURNAL, RunFolder, SCRATCH, is_vacant, lock, remove_tree, staging_path, sync_parent, written,
};
use crate::discover::{digest_file, hex};
use crate::error::IoError;
use crate::manifest::{FILE_NAME, Manifest, SCHEMA, UNLISTED};

/// How far a run came.
#[derive(Debug)]
pub enum Found {
    /// Nothing to go on from: a new staging folder.
    Nothing(RunFolder),
    /// A run with a journal. The folder is kept, whatever happens, until [`Journal::reopen`] accepts it.
    Begun(RunFolder),
    /// A run that is complete, its manifest included, and not in its place. The folder is kept.
    Sealed(RunFolder, Box<Manifest>),
    /// Something is at the final place already.
    Committed,
}

impl RunFolder {
    /// Looks for a run that was to end up at `out` and did not.
    ///
    /// # Errors
    /// [`IoError::OutBusy`] when it is still running, [`IoError::OutLeftover`] when what is there is not known to be
    /// a run of this program, [`IoError::Storage`] when the file system refuses.
    pub fn resume(out: &Path) -> Result<Found, IoError> {
        if !is_vacant(out) {
            // Whoever moved it there may not have come to this.
            sync_parent(out)?;
            lock::remove_stale(&staging_path(out)?);
            return Ok(Found::Committed);
        }
        let run = Self::claim(out)?;
        if !is_vacant(out) {
            return Ok(Found::Committed);
        }
        if !run.staging.exists() {
            run.create()?;
            return Ok(Found::Nothing(run));
        }
        if let Some(manifest) = sealed(&run.staging) {
            return Ok(Found::Sealed(run, Box::new(manifest)));
        }
        if journal::is_begun(&run.journal_folder()) {
            return Ok(Found::Begun(run));
        }
        if !has_only(&run.staging, &[JOURNAL, SCRATCH])? {
            return Err(IoError::OutLeftover {
                path: run.staging.clone(),
            });
        }
        // It ended before it said what it was.
        remove_tree(&run.staging).map_err(IoError::storage("remove", &run.staging))?;
        run.create()?;
        Ok(Found::Nothing(run))
    }

    /// Removes everything that the journal does not speak of, but the scratch folder.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn clear(&self, journal: &Journal) -> Result<(), IoError> {
        self.clear_but(&written::listed(journal), &[self.scratch_folder()])
    }

    /// Removes everything that `manifest` does not list.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn clear_unlisted(&self, manifest: &Manifest) -> Result<(), IoError> {
        let outputs = manifest.outputs.iter().map(|output| output.path.clone());
        let unlisted = UNLISTED.map(str::to_owned);
        self.clear_but(&outputs.chain(unlisted).collect(), &[])
    }

    /// Removes all files but these, the journal's and those in `folders`, and folders without files.
    fn clear_but(&self, known: &BTreeSet<String>, folders: &[PathBuf]) -> Result<(), IoError> {
        let known: BTreeSet<_> = known.iter().map(|path| self.place(path)).collect();
        let journal = self.journal_folder();
        for entry in WalkDir::new(&self.staging)
            .min_depth(1)
            .contents_first(true)
        {
            let entry = entry.map_err(|error| IoError::Storage {
                action: "read",
                path: error.path().unwrap_or(&self.staging).to_owned(),
                source: error.into(),
            })?;
            let path = entry.path();
            if path.starts_with(&journal) || folders.iter().any(|folder| path.starts_with(folder)) {
                continue;
            }
            if entry.file_type().is_dir() {
                // A folder with something in it stays.
                let _ = fs::remove_dir(path);
            } else if !known.contains(path) {
                fs::remove_file(path).map_err(IoError::storage("remove", path))?;
            }
        }
        Ok(())
    }
}

/// The manifest of a staging folder, if everything that it lists is there.
fn sealed(staging: &Path) -> Option<Manifest> {
    let bytes = fs::read(staging.join(FILE_NAME)).ok()?;
    let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
    let holds = manifest.outputs.par_iter().all(|output| {
        let parts = output.path.split('/');
        let path = parts.fold(staging.to_owned(), |path, part| path.join(part));
        digest_file(&path).is_ok_and(|(bytes, blake3)| {
            (bytes, hex(&blake3).as_str()) == (output.bytes, output.blake3.as_str())
        })
    });
    (holds && manifest.schema == SCHEMA).then_some(manifest)
}

/// Whether the folder holds nothing but entries with these names.
fn has_only(folder: &Path, names: &[&str]) -> Result<bool, IoError> {
    let entries = fs::read_dir(folder).map_err(IoError::storage("read", folder))?;
    for entry in entries {
        let entry = entry.map_err(IoError::storage("read", folder))?;
        if !names.iter().any(|&name| entry.file_name() == name) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::tests::manifest;
    use super::super::{Access, files_below};
    use super::*;
    use crate::run_folder::journal::Identity;

    fn found(out: &Path) -> &'static str {
        match RunFolder::resume(out).unwrap() {
            Found::Nothing(_) => "nothing",
            Found::Begun(_) => "begun",
            Found::Sealed(..) => "sealed",
            Found::Committed => "committed",
        }
    }

    #[test]
    fn every_end_of_a_run_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let staging = folder.path().join("run.partial");
        assert_eq!(found(&out), "nothing");
        assert!(!staging.exists(), "a new run that is dropped is removed");
        let run = RunFolder::stage(&out).unwrap();
        fs::create_dir(run.scratch_folder()).unwrap();
        assert!(matches!(
            RunFolder::resume(&out),
            Err(IoError::OutBusy { .. })
        ));
        run.keep(true);
        drop(run);
        assert_eq!(found(&out), "nothing", "it did not say what it was");

        let run = RunFolder::stage(&out).unwrap();
        Journal::begin(&run, &Identity::new([])).unwrap();
        run.write("clean/a.csv", b"a\n1\n").unwrap();
        let manifest = manifest(&run);
        run.keep(true);
        drop(run);
        assert_eq!(found(&out), "begun");
        assert_eq!(found(&out), "begun", "looking changes nothing");

        let text = serde_json::to_vec(&manifest).unwrap();
        fs::write(staging.join(FILE_NAME), &text[..text.len() / 2]).unwrap();
        assert_eq!(found(&out), "begun", "half a manifest is none");
        fs::write(staging.join(FILE_NAME), &text).unwrap();
        assert_eq!(found(&out), "sealed");
        fs::write(staging.join("clean/a.csv"), b"a\n2\n").unwrap();
        assert_eq!(found(&out), "begun", "not what the manifest lists");
        fs::write(staging.join("clean/a.csv"), b"a\n1\n").unwrap();
        fs::write(staging.join("clean/stranger"), b"").unwrap();
        let Found::Sealed(run, manifest) = RunFolder::resume(&out).unwrap() else {
            panic!("a complete run is not found");
        };
        run.clear_unlisted(&manifest).unwrap();
        run.commit(&manifest, Access::Owner, None).unwrap();
        fs::write(folder.path().join(".run.partial.lock"), b"").unwrap();
        assert_eq!(found(&out), "committed");
        let names: Vec<_> = files_below(&out)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["clean/a.csv", "manifest.json"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let staging = folder.path().join("run.partial");
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("thesis.txt"), b"years of work").unwrap();
        let refused = RunFolder::resume(&folder.path().join("run")).unwrap_err();
        assert!(matches!(refused, IoError::OutLeftover { .. }));
        assert!(staging.join("thesis.txt").exists());
    }

    #[test]
    fn what_the_journal_does_not_know_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::stage(&folder.path().join("run")).unwrap();
        let journal = Journal::begin(&run, &Identity::new([])).unwrap();
        journal.save("fit", |_| Ok(())).unwrap();
        for file in [
            "clean/a.csv",
            "clean/b/b.csv",
            "quarantine/c/c.csv",
            "report.json",
        ] {
            run.write(file, file.as_bytes()).unwrap();
        }
        let written = written::Written::open(&run, &journal, [1; 32]).unwrap();
        written.add("a.csv");
        written.save().unwrap();
        written.add("b/b.csv");
        written.save().unwrap();
        let names = || -> Vec<String> {
            let files = files_below(run.path()).unwrap().into_iter();
            files
                .map(|(name, _)| name)
                .filter(|name| !name.starts_with('.'))
                .collect()
        };
        run.clear(&journal).unwrap();
        assert_eq!(names(), ["clean/a.csv", "clean/b/b.csv"]);
        assert!(!run.path().join("quarantine").exists());
        let again = written::Written::open(&run, &journal, [1; 32]).unwrap();
        assert!(again.has("a.csv") && again.has("b/b.csv"));
        run.write("clean/b/b.csv", b"rotten").unwrap();
        let again = written::Written::open(&run, &journal, [1; 32]).unwrap();
        assert!(again.has("a.csv") && !again.has("b/b.csv"));
        assert_eq!(names(), ["clean/a.csv"]);
        let other = written::Written::open(&run, &journal, [2; 32]).unwrap();
        assert!(!other.has("a.csv"), "written under other decisions");
        assert!(names().is_empty());
    }
}
