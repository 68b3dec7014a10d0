//! Column names that say what a column is for, lower case, the most telling first.

/// Names of a record.
pub(super) const ID: &[&str] = &[
    "row_id",
    "record_id",
    "id",
    "uuid",
    "guid",
    "_id",
    "idx",
    "index",
    "__index_level_0__",
    "unnamed: 0",
    "row",
    "row_number",
];

/// Classes.
pub(super) const LABEL: &[&str] = &[
    "label",
    "labels",
    "target",
    "class",
    "class_label",
    "gold_label",
    "category",
    "y",
    "sentiment",
];

/// Vectors.
pub(super) const EMBEDDING: &[&str] = &[
    "embedding",
    "embeddings",
    "vector",
    "features",
    "emb",
    "image_embedding",
    "text_embedding",
    "sentence_embedding",
    "hidden_state",
];

/// Class probabilities of a model.
pub(super) const PROBABILITIES: &[&str] = &[
    "pred_probs",
    "probabilities",
    "probs",
    "probability",
    "predicted_probabilities",
    "class_probabilities",
    "scores",
];

/// Where a record, or the person who gave it, comes from.
pub(super) const SOURCE: &[&str] = &[
    "source",
    "contributor",
    "contributor_id",
    "annotator",
    "annotator_id",
    "worker_id",
    "author",
    "author_id",
    "user_id",
    "user",
    "uploader",
    "publisher",
    "provider",
    "dataset",
    "data_source",
    "domain",
    "origin",
    "subset",
    "site",
];

/// When a record was made.
pub(super) const TIME: &[&str] = &[
    "created_at",
    "timestamp",
    "created",
    "date",
    "datetime",
    "time",
    "created_utc",
    "collected_at",
    "crawled_at",
    "fetched_at",
    "published_at",
    "updated_at",
    "ts",
];

/// Addresses.
pub(super) const URL: &[&str] = &["url", "uri", "link", "image_url", "source_url", "page_url"];

/// Recorded digests.
pub(super) const CONTENT_HASH: &[&str] = &[
    "sha256",
    "sha1",
    "sha512",
    "md5",
    "blake3",
    "checksum",
    "content_hash",
    "digest",
    "hash",
];

/// Encoded images.
pub(super) const IMAGE: &[&str] = &[
    "image",
    "img",
    "image_bytes",
    "picture",
    "photo",
    "jpg",
    "png",
];

/// What a language model is given.
pub(super) const PROMPT: &[&str] = &[
    "prompt",
    "instruction",
    "instructions",
    "question",
    "query",
    "input",
    "inputs",
    "problem",
    "system",
    "system_prompt",
    "context",
    "human",
];

/// What it is to answer.
pub(super) const RESPONSE: &[&str] = &[
    "response",
    "output",
    "outputs",
    "completion",
    "answer",
    "chosen",
    "rejected",
    "solution",
    "reply",
    "assistant",
];

/// The two answers of a preference.
pub(super) const PREFERENCE: [&str; 2] = ["chosen", "rejected"];

/// Dialogues as lists of strings.
pub(super) const DIALOGUE: &[&str] = &[
    "dialogue",
    "dialog",
    "conversation",
    "conversations",
    "turns",
    "utterances",
    "messages",
];

/// Free text.
pub(super) const TEXT: &[&str] = &[
    "text",
    "sentence",
    "sentence1",
    "sentence2",
    "premise",
    "hypothesis",
    "review",
    "review_text",
    "content",
    "document",
    "body",
    "title",
    "comment",
    "tweet",
    "post",
    "message",
    "description",
    "abstract",
    "summary",
    "passage",
    "article",
    "headline",
    "subject",
    "caption",
    "transcript",
    "utterance",
];
