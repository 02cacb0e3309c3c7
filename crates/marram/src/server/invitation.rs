//! Where a newcomer's join token comes from: given at the start, or in a file that may come later and
//! change. Under an orchestrator the newcomer is there before its token is, and a crash of the one
//! would say nothing that waiting does not say better.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use marram_types::JoinToken;
use tokio::time::Instant;

use super::observe::Readiness;
use super::own;

/// Pause between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two lines in the log while nothing changes.
const LOOKS_PER_LINE: u32 = 30;
/// How long a token that was refused is let be, unless the file holds another one before: the reason
/// may go away, such as a living member of the same name.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// What lets a newcomer in.
#[derive(Debug)]
pub(super) enum Invitation {
    /// This token, and no other will come.
    Given(Box<JoinToken>),
    /// What the file holds when it is there.
    Awaited {
        /// The file.
        file: PathBuf,
        /// The text that was tried last.
        tried: Option<String>,
        /// When it was refused.
        refused_at: Option<Instant>,
    },
}

impl Invitation {
    /// What the settings say.
    ///
    /// # Errors
    /// When no token is given, or none can be read and none is waited for.
    pub(super) fn of(
        token: Option<&String>,
        file: Option<&PathBuf>,
        await_token: bool,
    ) -> Result<Self> {
        match file {
            Some(file) if await_token => Ok(Self::Awaited {
                file: file.clone(),
                tried: None,
                refused_at: None,
            }),
            file => Ok(Self::Given(Box::new(own::token(token, file)?))),
        }
    }

    /// Whether another token may come.
    pub(super) fn may_change(&self) -> bool {
        matches!(self, Self::Awaited { .. })
    }

    /// The token was refused.
    pub(super) fn refused(&mut self) {
        if let Self::Awaited { refused_at, .. } = self {
            *refused_at = Some(Instant::now());
        }
    }

    /// The token to ask with next; waits for it where it may come later.
    pub(super) async fn token(&mut self, readiness: &Readiness) -> Result<JoinToken> {
        let (file, tried, refused_at) = match self {
            Self::Given(token) => return Ok((**token).clone()),
            Self::Awaited {
                file,
                tried,
                refused_at,
            } => (file, tried, refused_at),
        };
        for look in 0_u32.. {
            let missing = match read(file) {
                Ok((text, token)) => {
                    let known = tried.as_deref() == Some(text.as_str());
                    let early = refused_at.is_some_and(|at| at.elapsed() < ASK_AGAIN_AFTER);
                    if !(known && early) {
                        *tried = Some(text);
                        return Ok(token);
                    }
                    None
                }
                Err(why) => Some(why),
            };
            if let Some(why) = &missing {
                let file = file.display();
                readiness.joining(format!("waiting for a join token in {file}: {why}"));
            }
            if let Some(why) = missing.filter(|_| look % LOOKS_PER_LINE == 0) {
                tracing::info!(file = %file.display(), why, "no member yet: waiting for a join token");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("no join token came")
    }
}

/// The token in the file, or why there is none.
fn read(file: &Path) -> Result<(String, JoinToken), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    let token = text.parse::<JoinToken>();
    token
        .map(|token| (text, token))
        .map_err(|error| error.to_string())
}
