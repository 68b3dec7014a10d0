//! `lazaretto explain`.

use std::process::ExitCode;

use anyhow::Result;
use lazaretto_engine::{ExplainRequest, explain};

use crate::arguments::{ExplainOptions, Format, run_keys};
use crate::output::{colored, print};
use crate::scan::cancel_on_signal;

pub(crate) fn run(options: &ExplainOptions) -> Result<ExitCode> {
    let explanation = explain(&ExplainRequest {
        run: options.run.clone(),
        record: options.record.clone(),
        nearest: options.nearest,
        keys: run_keys(options.pipeline.as_deref())?,
        cancel: cancel_on_signal()?,
    })?;
    print(&match options.format {
        Format::Json => lazaretto_report::explanation_json(&explanation),
        Format::Human => lazaretto_report::explanation(&explanation, colored()),
    });
    Ok(ExitCode::SUCCESS)
}
