//! The token that is asked of those who want metrics. It comes from a file, which is looked at again and again:
//! Kubernetes replaces the files of a mounted secret in place, and a token that leaked is replaced without a restart.
//!
//! What cannot be used never replaces what can: metrics stay closed to who has the old token no longer, and to all
//! others, whatever becomes of the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use marram_metrics::BearerToken;
use tokio::sync::watch;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The token of the moment and the file that it comes from.
#[derive(Debug)]
pub(super) struct ScrapeToken {
    file: PathBuf,
    text: String,
    token: watch::Sender<BearerToken>,
    /// What is wrong with the file, where it was told.
    refused: Option<String>,
}

impl ScrapeToken {
    /// Reads the token, where a file is named.
    ///
    /// # Errors
    /// When there is none in the file that could be asked for.
    pub(super) fn load(file: Option<&Path>) -> Result<Option<Self>> {
        let Some(file) = file else {
            return Ok(None);
        };
        let (text, token) = read(file)?;
        Ok(Some(Self {
            file: file.to_owned(),
            text,
            token: watch::Sender::new(token),
            refused: None,
        }))
    }

    /// The token of the moment.
    pub(super) fn subscribe(&self) -> watch::Receiver<BearerToken> {
        self.token.subscribe()
    }

    /// Looks at the file for as long as somebody has the token of the moment.
    pub(super) async fn keep_current(mut self) {
        loop {
            tokio::select! {
                () = self.token.closed() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(token) => self = token,
                Err(_) => return,
            }
        }
    }

    fn look(&mut self) {
        match read(&self.file) {
            Ok((text, token)) => {
                self.refused = None;
                if text != self.text {
                    self.text = text;
                    self.token.send_replace(token);
                    tracing::info!(file = %self.file.display(), "metrics ask for another token now");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                if self.refused.as_ref() != Some(&error) {
                    tracing::error!(error, "the token before is asked for on");
                }
                self.refused = Some(error);
            }
        }
    }
}

fn read(file: &Path) -> Result<(String, BearerToken)> {
    let wrong = || {
        format!(
            "metrics_token_file: cannot use the token in {}",
            file.display()
        )
    };
    let text = std::fs::read_to_string(file).with_context(wrong)?;
    let token = BearerToken::new(&text).with_context(wrong)?;
    Ok((text, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_by_one_that_can_be_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("token");
        assert!(ScrapeToken::load(None).expect("none is asked").is_none());
        let missing = ScrapeToken::load(Some(&file)).expect_err("no file");
        assert!(format!("{missing:#}").contains("metrics_token_file"));
        std::fs::write(&file, "0123456789abcdef\n").expect("written");
        let token = ScrapeToken::load(Some(&file)).expect("a token");
        let mut token = token.expect("a file");
        let mut seen = token.subscribe();
        let mut changed = |token: &mut ScrapeToken| {
            token.look();
            let changed = seen.has_changed().expect("it is there");
            seen.mark_unchanged();
            changed
        };
        assert!(!changed(&mut token), "as it was");
        std::fs::write(&file, "short").expect("written");
        assert!(!changed(&mut token), "it cannot be used");
        std::fs::remove_file(&file).expect("removed");
        assert!(!changed(&mut token), "it is gone");
        std::fs::write(&file, "fedcba9876543210").expect("written");
        assert!(changed(&mut token));
        assert!(!changed(&mut token), "once");
    }
}
