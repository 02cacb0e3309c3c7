//! What stands behind an error of a replica's files: they are damaged, or the drive did not do what it was
//! asked. Only the former is a reason never to vote with them again (rules.md 2): a drive without room, or
//! one whose cable is loose, still has the votes that were given.

use std::error::Error;
use std::fmt;
use std::io;

use marram_store::wal::WalError;
use marram_types::codec::DecodeError;
use openraft::errors::ErrorSource;

use crate::machine::MachineError;

/// What stands behind an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// What is on the drive is not what was written there.
    Damaged,
    /// The operating system failed or refused: nothing is known of what is on the drive.
    Drive,
    /// Neither: another release wrote it, or an earlier error is to be looked at.
    Other,
}

/// openraft's copy of an error of log or state machine, which still knows what stood behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreFault {
    text: String,
    trouble: Trouble,
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for StoreFault {}

impl ErrorSource for StoreFault {
    fn from_error<E: Error + 'static>(error: &E) -> Self {
        Self {
            text: error.to_string(),
            trouble: behind(error),
        }
    }

    /// openraft itself complains of what it was given: log and state do not fit together.
    fn from_string(text: impl ToString) -> Self {
        Self {
            text: text.to_string(),
            trouble: Trouble::Damaged,
        }
    }
}

/// What stands behind an error, the outermost that says it.
pub(crate) fn behind(error: &(dyn Error + 'static)) -> Trouble {
    if let Some(fault) = error.downcast_ref::<StoreFault>() {
        return fault.trouble;
    }
    if let Some(error) = error.downcast_ref::<MachineError>() {
        return error.trouble();
    }
    if let Some(error) = error.downcast_ref::<WalError>() {
        return match error {
            WalError::Damaged { .. } => Trouble::Damaged,
            WalError::Io { source, .. } => of_io(source),
            WalError::NoSpace { .. } => Trouble::Drive,
            _ => Trouble::Other,
        };
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error);
    }
    if let Some(error) = error.downcast_ref::<redb::Error>() {
        return of_redb(error);
    }
    if let Some(error) = error.downcast_ref::<redb::StorageError>() {
        return of_storage(error);
    }
    if error.downcast_ref::<DecodeError>().is_some() {
        return Trouble::Damaged;
    }
    error.source().map_or(Trouble::Other, behind)
}

/// A file that ends too early, or has what it cannot have, is damaged; anything else that the operating
/// system says is about the drive.
fn of_io(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Trouble::Damaged,
        _ => match error.get_ref() {
            Some(inner) => behind(inner),
            None => Trouble::Drive,
        },
    }
}

fn of_storage(error: &redb::StorageError) -> Trouble {
    match error {
        redb::StorageError::Corrupted(_) => Trouble::Damaged,
        redb::StorageError::Io(error) => of_io(error),
        redb::StorageError::PreviousIo => Trouble::Drive,
        _ => Trouble::Other,
    }
}

fn of_redb(error: &redb::Error) -> Trouble {
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_) => Trouble::Damaged,
        redb::Error::Io(error) => of_io(error),
        redb::Error::PreviousIo => Trouble::Drive,
        _ => Trouble::Other,
    }
}

impl MachineError {
    /// What stands behind it.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Io { source, .. } => of_io(source),
            Self::Store(error) => of_redb(error),
            Self::Kv(error) => error.source().map_or(Trouble::Other, behind),
            Self::NoIdentity { .. }
            | Self::Foreign { .. }
            | Self::Row { .. }
            | Self::Order { .. }
            | Self::Snapshot(_) => Trouble::Damaged,
            Self::Logic { .. } | Self::Stopped(_) => Trouble::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;

    /// Numbers of the operating system: input/output error, no space, quota, too many open files.
    const OF_THE_DRIVE: [i32; 4] = [5, 28, 122, 24];

    fn store(error: redb::Error) -> MachineError {
        MachineError::Store(Box::new(error))
    }

    /// As openraft is given it: what a function of log or state machine returned, copied.
    fn told(error: impl Into<Box<dyn Error + Send + Sync>>) -> Trouble {
        StoreFault::from_error(&io::Error::other(error)).trouble
    }

    #[test]
    fn what_the_operating_system_says_is_about_the_drive() {
        for number in OF_THE_DRIVE {
            let io = || io::Error::from_raw_os_error(number);
            let path = PathBuf::from("/x");
            assert_eq!(of_io(&io()), Trouble::Drive, "{}", io());
            assert_eq!(store(redb::Error::Io(io())).trouble(), Trouble::Drive);
            assert_eq!(told(store(redb::Error::Io(io()))), Trouble::Drive);
            let row = marram_meta::KvError::new(redb::StorageError::Io(io()));
            assert_eq!(told(MachineError::Kv(row)), Trouble::Drive);
            let file = MachineError::Io {
                path: path.clone(),
                source: io(),
            };
            assert_eq!(told(file), Trouble::Drive);
            let log = WalError::Io {
                path,
                source: Arc::new(io()),
            };
            assert_eq!(told(log), Trouble::Drive);
        }
        assert_eq!(store(redb::Error::PreviousIo).trouble(), Trouble::Drive);
    }

    #[test]
    fn what_was_not_written_so_is_damage() {
        let checksum = || redb::Error::Corrupted("a checksum".into());
        assert_eq!(store(checksum()).trouble(), Trouble::Damaged);
        assert_eq!(told(store(checksum())), Trouble::Damaged);
        let row = marram_meta::KvError::new(redb::StorageError::Corrupted(String::new()));
        assert_eq!(told(MachineError::Kv(row)), Trouble::Damaged);
        for kind in [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof] {
            let short = redb::Error::Io(kind.into());
            assert_eq!(store(short).trouble(), Trouble::Damaged, "{kind:?}");
        }
        let log = WalError::Damaged {
            path: PathBuf::from("/x"),
            offset: 1,
            what: "a durable record",
        };
        assert_eq!(told(log), Trouble::Damaged);
        assert_eq!(told(DecodeError::Short), Trouble::Damaged);
        let hole = io::Error::new(io::ErrorKind::InvalidData, "no entry 5");
        assert_eq!(StoreFault::from_error(&hole).trouble, Trouble::Damaged);
        let unfit = StoreFault::from_string("the log ends before the state");
        assert_eq!(unfit.trouble, Trouble::Damaged);
    }

    #[test]
    fn what_says_neither_is_neither() {
        let stopped = MachineError::Stopped("an earlier error".into());
        assert_eq!(told(stopped), Trouble::Other);
        assert_eq!(told(WalError::Closed), Trouble::Other);
        let open = store(redb::Error::DatabaseAlreadyOpen);
        assert_eq!(open.trouble(), Trouble::Other);
        assert_eq!(told("something"), Trouble::Other);
    }
}
