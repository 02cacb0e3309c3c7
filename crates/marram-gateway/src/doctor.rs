//! What is wrong with the cluster, with evidence and what to do about it.
//!
//! ```text
//! gather   asks everything and everybody, as far as it answers
//! facts    what was learned: all that a check may look at
//! checks   one pure function each: facts -> findings
//! ```
//!
//! Whatever does not answer is a finding, not an error: an operator asks because something is wrong.

mod checks;
mod facts;
mod gather;
mod say;

use std::time::Duration;

use marram_proto::v1;

use crate::admin::AdminError;
use crate::core::{BucketError, Core};
use crate::nodes::InspectError;
use crate::process::{Whom, whom};
use checks::CHECKS;
use gather::gather;

/// How long a node may take to say everything about itself.
const INSPECT_TIME: Duration = Duration::from_secs(10);

/// Most log lines that are asked of a node; it keeps no more.
const LOG_LINES_MAX: u32 = 2000;

/// Looks at everything.
pub(crate) async fn diagnose(core: &Core) -> Result<v1::DiagnoseResponse, BucketError> {
    let facts = gather(core).await?;
    let checks = CHECKS.iter().map(|check| v1::Check {
        name: check.name.to_owned(),
        question: check.question.to_owned(),
        findings: (check.look)(&facts),
    });
    Ok(v1::DiagnoseResponse {
        checks: checks.collect(),
        answered_by: core.name.clone(),
    })
}

/// Asks one process about itself.
pub(crate) async fn inspect(
    core: &Core,
    mut asked: v1::InspectNodeRequest,
) -> Result<v1::InspectNodeResponse, AdminError> {
    asked.log_lines = asked.log_lines.min(LOG_LINES_MAX);
    let (node_id, name, said) = match whom(core, &asked.node)? {
        Whom::Own => {
            let said = core.process.inspect(asked).await;
            let silent = || InspectError("it says nothing of itself".to_owned());
            (0, core.name.clone(), said.ok_or_else(silent))
        }
        Whom::Node(node, name) => {
            let said = core.nodes.inspect(node, asked, INSPECT_TIME).await;
            (node.0, name, said)
        }
    };
    let inspection = said.map_err(|error| AdminError::NotInspected {
        name: name.clone(),
        error,
    })?;
    Ok(v1::InspectNodeResponse {
        inspection: Some(v1::NodeInspection {
            node_id,
            name,
            ..inspection
        }),
    })
}
