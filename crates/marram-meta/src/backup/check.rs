//! Whether frames make a whole backup.

use std::collections::BTreeSet;

use marram_types::{Crc64Nvme, GroupId};

use super::{BackupError, BackupFrame, BackupGroup, BackupHeader, BackupKind};

/// What a whole backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    /// What it is of.
    pub header: BackupHeader,
    /// Its groups with the bytes of their states, in the order of the file.
    pub groups: Vec<(BackupGroup, u64)>,
}

/// Is shown every frame of a file, in order.
#[derive(Debug, Default)]
pub struct BackupCheck {
    header: Option<BackupHeader>,
    open: Option<(BackupGroup, u64, Crc64Nvme)>,
    groups: Vec<(BackupGroup, u64)>,
    ended: bool,
}

impl BackupCheck {
    /// Takes a frame.
    ///
    /// # Errors
    /// When it does not follow the ones before it.
    pub fn take(&mut self, frame: &BackupFrame) -> Result<(), BackupError> {
        let wrong = |what| Err(BackupError::Order(what));
        if self.ended {
            return wrong("something follows its end");
        }
        if self.header.is_none() != matches!(frame, BackupFrame::Header(_)) {
            return wrong("its header is not where it belongs");
        }
        match frame {
            BackupFrame::Header(header) => self.header = Some(header.clone()),
            BackupFrame::Group(group) => {
                let twice = self.groups.iter().any(|(g, _)| g.group == group.group);
                if self.open.is_some() || twice {
                    return wrong("a group begins where none may");
                }
                self.open = Some((group.clone(), 0, Crc64Nvme::default()));
            }
            BackupFrame::Piece(bytes) => {
                let Some((_, length, crc)) = &mut self.open else {
                    return wrong("a piece belongs to no group");
                };
                *length += bytes.len() as u64;
                crc.update(bytes);
            }
            BackupFrame::GroupEnd { bytes, crc64 } => {
                let Some((group, length, crc)) = self.open.take() else {
                    return wrong("no group is there to end");
                };
                if (length, crc.value()) != (*bytes, *crc64) {
                    return Err(BackupError::Group(group.group));
                }
                self.groups.push((group, length));
            }
            BackupFrame::End { groups } => {
                if self.open.is_some() || usize::from(*groups) != self.groups.len() {
                    return wrong("groups are missing at its end");
                }
                self.ended = true;
            }
        }
        Ok(())
    }

    /// What the file holds, after its last frame.
    ///
    /// # Errors
    /// When the end, or a group of the cluster, is missing.
    pub fn finish(self) -> Result<BackupSummary, BackupError> {
        let header = self.header.ok_or(BackupError::NotABackup)?;
        if !self.ended {
            return Err(BackupError::Order("it was cut off"));
        }
        if header.kind == BackupKind::Cluster {
            let held: BTreeSet<_> = self.groups.iter().map(|(g, _)| g.group).collect();
            let mut all = (0..=header.object_groups).map(GroupId);
            if let Some(missing) = all.find(|group| !held.contains(group)) {
                return Err(BackupError::Missing(missing));
            }
        }
        Ok(BackupSummary {
            header,
            groups: self.groups,
        })
    }
}
