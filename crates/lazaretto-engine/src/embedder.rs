//! Vectors of texts from a model, in the place of an embedding column.
//!
//! Where a dataset has texts and no vectors, an embedder's are what the dense features, neighbours
//! and detectors of embeddings work on. Every text goes through the model once, in a pass of its own;
//! the vectors are kept by ordinal, in memory or in a mapped file. Records that are not part of the
//! dataset (trusted ones) are embedded where they are read.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::error::ArrowError;
use lazaretto_core::TextField;
use lazaretto_core::report::{EmbedderReport, ModelFileReport};
use lazaretto_embed::{Model, ModelFile, Request};
use lazaretto_features::{Precision, VectorStore, VectorWriter};
use lazaretto_io::{IoError, ModelDigest};
use ndarray::Array2;

use crate::assemble::{Assembler, Wanted};
use crate::error::EngineError;
use crate::scan::Scan;
use crate::settings::Settings;

/// Loads the model of the settings; `None` when there is none.
///
/// # Errors
/// [`EngineError::Embedder`] with what is wrong with its folder.
pub(crate) fn load(settings: &Settings) -> Result<Option<Model>, EngineError> {
    let Some(options) = &settings.embedder else {
        return Ok(None);
    };
    let folder = options.path.as_deref().unwrap_or_default();
    lazaretto_embed::load(&Request {
        folder: Path::new(folder),
        sha256: &options.sha256,
        runtime: options.runtime.as_deref().map(Path::new),
        max_bytes: settings.memory / 4,
    })
    .map(Some)
    .map_err(|source| EngineError::Embedder {
        folder: folder.to_owned(),
        source,
    })
}

/// A model, and whether it is used.
pub(crate) struct Installed {
    model: Arc<Model>,
    /// Why it is not used.
    unused: Option<&'static str>,
}

impl Installed {
    /// Makes `model` the source of the dataset's vectors, where it has texts and none of its own.
    pub(crate) fn new(model: Model, assembler: &mut Assembler) -> Self {
        let model = Arc::new(model);
        let unused = if assembler.layout.embedding.is_some() {
            Some("the dataset has an embedding column")
        } else if assembler.facts.has_text() {
            None
        } else {
            Some("the dataset has no text column")
        };
        if unused.is_none() {
            let facts = Arc::make_mut(&mut assembler.facts);
            facts.embedding_dim = Some(model.embedder.dim());
            facts.embedded_texts = true;
            assembler.layout.embedded_texts = true;
            assembler.embedded = Some(EmbeddedTexts {
                model: Arc::clone(&model),
                store: OnceLock::new(),
            });
        }
        Self { model, unused }
    }

    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        let embedder = &self.model.embedder;
        let files: Vec<String> = self.model.files.iter().map(named).collect();
        let use_ = self.unused.map_or_else(
            || format!("the first {} tokens of each text", embedder.max_tokens()),
            |reason| format!("not used, {reason}"),
        );
        format!(
            "embedder: {}, {use_}; {}",
            embedder.method(),
            files.join(", ")
        )
    }

    /// Why it is not used.
    pub(crate) fn unused(&self) -> Option<&'static str> {
        self.unused
    }

    /// The model for the report.
    pub(crate) fn report(&self) -> EmbedderReport {
        let files = self.model.files.iter();
        EmbedderReport {
            method: self.model.embedder.method().to_owned(),
            dim: self.model.embedder.dim() as u32,
            max_tokens: self.model.embedder.max_tokens() as u32,
            used: self.unused.is_none(),
            files: files
                .map(|file| ModelFileReport {
                    path: file.name.clone(),
                    bytes: file.bytes,
                    sha256: file.sha256.clone(),
                })
                .collect(),
        }
    }

    /// The files for the manifest.
    pub(crate) fn digests(&self) -> Vec<ModelDigest> {
        let files = self.model.files.iter();
        files
            .map(|file| ModelDigest {
                path: file.name.clone(),
                bytes: file.bytes,
                sha256: file.sha256.clone(),
            })
            .collect()
    }
}

fn named(file: &ModelFile) -> String {
    format!("`{}` (sha256 {})", file.name, file.sha256)
}

/// Where the vectors of texts come from.
pub(crate) struct EmbeddedTexts {
    model: Arc<Model>,
    /// Those of the dataset, once they have been made.
    store: OnceLock<VectorStore>,
}

impl EmbeddedTexts {
    /// The vectors of `n_rows` records, the first of which has ordinal `first_row`: those that were
    /// kept, or made of the fields that `read` gives.
    pub(crate) fn rows(
        &self,
        first_row: u64,
        n_rows: usize,
        read: impl FnOnce() -> Result<Vec<TextField>, ArrowError>,
    ) -> Result<Array2<f32>, ArrowError> {
        let kept = self.store.get();
        if let Some(rows) = kept.and_then(|store| store.rows(first_row, n_rows)) {
            return Ok(rows);
        }
        self.embed(&read()?, n_rows)
    }

    /// The mean of the vectors of a record's fields, at unit length; NaN throughout where no field
    /// has one.
    fn embed(&self, fields: &[TextField], n_rows: usize) -> Result<Array2<f32>, ArrowError> {
        let (rows, texts): (Vec<usize>, Vec<&str>) = (0..n_rows)
            .flat_map(|row| {
                fields
                    .iter()
                    .filter_map(move |field| Some((row, field.get(row)?)))
            })
            .filter(|(_, text)| !text.is_empty())
            .unzip();
        let vectors = self
            .model
            .embedder
            .embed(&texts)
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let mut means = Array2::from_elem((n_rows, self.model.embedder.dim()), f32::NAN);
        let mut added = vec![0_u32; n_rows];
        for (&row, vector) in rows.iter().zip(vectors.rows()) {
            if vector.iter().all(|value| value.is_finite()) {
                let mut mean = means.row_mut(row);
                if added[row] == 0 {
                    mean.assign(&vector);
                } else {
                    mean += &vector;
                }
                added[row] += 1;
            }
        }
        for (mut mean, &added) in means.rows_mut().into_iter().zip(&added) {
            if added > 1 {
                // Vectors that cancel each other out have no mean direction.
                let length = mean.dot(&mean).sqrt();
                mean.mapv_inplace(|value| {
                    if length > 0.0 {
                        value / length
                    } else {
                        f32::NAN
                    }
                });
            }
        }
        Ok(means)
    }
}

impl Scan<'_> {
    /// The pass that makes the vectors of all texts, where a detector or a shared feature reads them.
    pub(crate) fn embed_texts(&mut self, scratch: &Path) -> Result<(), EngineError> {
        let assembler = self.assembler;
        let Some(embedded) = &assembler.embedded else {
            return Ok(());
        };
        let facts = &assembler.facts;
        if !(self.plan.fit_wanted(facts).embedding || self.plan.score_wanted(facts).embedding) {
            return Ok(());
        }
        self.phase("embedding texts");
        let failed = |source| IoError::Storage {
            action: "write",
            path: scratch.join("embedded"),
            source,
        };
        let (n_rows, dim) = (facts.n_rows as usize, embedded.model.embedder.dim());
        let writer = if 4 * (n_rows * dim) as u64 <= self.request.settings.memory / 8 {
            VectorWriter::in_memory(n_rows, dim, Precision::Single)
        } else {
            // Without a name, so that it is gone when the run ends in whatever way.
            tempfile::tempfile_in(scratch)
                .and_then(|file| VectorWriter::in_file(file, n_rows, dim, Precision::Single))
                .map_err(failed)?
        };
        let wanted = Wanted {
            embedding: true,
            ..Wanted::default()
        };
        let columns = wanted.columns(&assembler.layout);
        let cancel = Arc::clone(&self.request.cancel);
        let embed_unit = |this: &Self, unit: usize| {
            this.each_batch(unit, &wanted, &columns, |_, assembled| {
                let view = assembled.view(&assembled.derived);
                if cancel.load(Ordering::Relaxed) {
                    return Err(IoError::Interrupted);
                }
                match view.embedding {
                    Some(rows) => writer.write(view.first_row, rows).map_err(failed),
                    None => Ok(()),
                }
            })
        };
        let dataset = self.dataset;
        self.each_unit(embed_unit, |unit, made| {
            if made.is_none() {
                // What was written before the unit failed is taken back.
                let place = dataset.units()[unit];
                writer.erase(place.first_row, place.rows).map_err(failed)?;
            }
            Ok(())
        })?;
        let store = writer.finish().map_err(failed)?;
        // Nobody else fills it.
        let _ = embedded.store.set(store);
        Ok(())
    }
}
