//! What came of an object command.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{DriveId, Generation, UploadId, VersionId};

use super::copied::CopiedVersion;
use crate::kinds::bucket::BucketState;
use crate::kinds::noncurrent::{get_place, put_place};
use crate::kinds::quota::{Amount, Lease};
use crate::refusal::{Refusal, unknown};
use crate::stored::Stored;

/// The version that an upload became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedUpload {
    /// The version.
    pub version: VersionId,
    /// Its generation.
    pub generation: Generation,
    /// Leader time of the commit.
    pub modified_ms: u64,
    /// Bytes.
    pub size: u64,
    /// CRC64/NVME of all bytes.
    pub crc64: u64,
    /// Quotes included.
    pub etag: String,
    /// A part survives fewer losses than the bucket asks for.
    pub under_protected: bool,
}

impl Stored for CompletedUpload {
    fn encode(&self, out: &mut Writer) {
        out.u128_be(self.version.0)
            .varint(self.generation.0)
            .varint(self.modified_ms)
            .varint(self.size)
            .u64_be(self.crc64)
            .str(&self.etag)
            .bool(self.under_protected);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: VersionId(from.u128_be()?),
            generation: Generation(from.varint()?),
            modified_ms: from.varint()?,
            size: from.varint()?,
            crc64: from.u64_be()?,
            etag: from.str()?.to_owned(),
            under_protected: from.bool()?,
        })
    }
}

/// What went because its time had come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Current versions.
    pub current: u64,
    /// Versions that were not.
    pub noncurrent: u64,
    /// Delete markers.
    pub markers: u64,
    /// Uploads.
    pub uploads: u64,
    /// Bytes of the versions and of the uploads' parts. Those of a current version that is kept, marked as
    /// deleted, count too.
    pub bytes: u64,
}

impl Expired {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            current: self.current + other.current,
            noncurrent: self.noncurrent + other.noncurrent,
            markers: self.markers + other.markers,
            uploads: self.uploads + other.uploads,
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl Stored for Expired {
    fn encode(&self, out: &mut Writer) {
        for count in [self.current, self.noncurrent, self.markers, self.uploads] {
            out.varint(count);
        }
        out.varint(self.bytes);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            current: from.varint()?,
            noncurrent: from.varint()?,
            markers: from.varint()?,
            uploads: from.varint()?,
            bytes: from.varint()?,
        })
    }
}

/// What came of an object command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectOutcome {
    /// The version is the current one.
    Committed {
        /// The version: a repeated request is answered with the one that its first attempt made,
        /// not with the one that it brought itself.
        version: VersionId,
        /// Its generation.
        generation: Generation,
        /// Leader time of the commit.
        modified_ms: u64,
        /// An extent has fewer shards than the bucket asks for; a ticket was filed.
        narrowed: bool,
        /// An extent survives fewer losses than the bucket asks for; a ticket was filed. Told to
        /// the client (rules.md 18).
        under_protected: bool,
    },
    /// An earlier apply of the same data committed it; nothing was changed
    /// (placement-protocol.md 10).
    AlreadyCommitted,
    /// There is no object any more.
    Deleted {
        /// The generation of the deletion.
        generation: Generation,
        /// Whether there was one.
        existed: bool,
    },
    /// The object is marked as deleted; the versions that the bucket keeps are there.
    Marked {
        /// The generation of the delete marker.
        generation: Generation,
        /// Whether there was an object until then.
        existed: bool,
    },
    /// One version or delete marker is gone for good.
    VersionDeleted {
        /// Whether there was one.
        existed: bool,
        /// It was a marker.
        marker: bool,
    },
    /// The group holds this state of the bucket, which is the one sent unless it held a newer one.
    Fenced {
        /// Versions and markers that are left.
        live: u64,
        /// The epoch held.
        epoch: u64,
        /// The state held.
        state: BucketState,
    },
    /// The group holds every row that was sent, or a newer one of the same placement group.
    LayoutFenced {
        /// The highest epoch that it holds of the rows sent; 0 when none was.
        epoch: u64,
    },
    /// What the row holds of the shard now, whether the command changed it or not.
    Shard {
        /// Where readers look for it.
        place: DriveId,
        /// It is known to be lost.
        missing: bool,
        /// The row names its place, because the layout does not tell it.
        overridden: bool,
    },
    /// No current version holds the data: there is nothing to know about its shards.
    NotLive,
    /// The new data is what the row holds.
    Reencoded,
    /// The row did not hold the old data any more; the new data is garbage.
    Superseded,
    /// Versions of a bucket were judged by its profile.
    Judged {
        /// The last one.
        after: Option<String>,
        /// There are no more.
        done: bool,
    },
    /// What is said of a version was changed.
    Annotated {
        /// Its generation now.
        generation: Generation,
        /// Its time now.
        modified_ms: u64,
    },
    /// Noncurrent versions of a bucket were judged by its profile.
    NoncurrentJudged {
        /// The last one.
        after: Option<(String, Generation)>,
        /// There are no more.
        done: bool,
    },
    /// The upload takes parts. A repeated request is answered with the upload that its first attempt
    /// made.
    UploadCreated {
        /// Its id.
        upload: UploadId,
        /// Leader time of its creation.
        created_ms: u64,
    },
    /// The parts of an upload are the current version. A repeated request is answered with the one that
    /// its first attempt made.
    UploadCompleted(CompletedUpload),
    /// The part is stored, and a former one of its number is not.
    PartStored {
        /// Leader time of the commit.
        modified_ms: u64,
        /// An extent survives fewer losses than the bucket asks for; a ticket was filed.
        under_protected: bool,
    },
    /// A writer's epoch of a stream has begun.
    WriteOpened {
        /// Its name in what the writer records.
        epoch: u64,
    },
    /// The next bytes of a stream are recorded.
    RunRecorded {
        /// All bytes that are.
        persisted: u64,
        /// CRC64/NVME of them.
        crc64: u64,
    },
    /// The version is committed, by a put that says what was asked: this or an earlier attempt.
    Copied(Box<CopiedVersion>),
    /// What went of what was due.
    Expired(Expired),
    /// The group's part of a quota, and what it holds.
    Lease {
        /// The lease.
        lease: Lease,
        /// What the group holds of the bucket.
        held: Amount,
    },
    /// Parts that nothing wants were taken out of use.
    PartsDropped {
        /// There are no more.
        done: bool,
    },
    /// Done; there is nothing to tell.
    Done,
    /// Nothing was changed.
    Refused(Refusal),
}

impl ObjectOutcome {
    /// The encoding, as `apply_object` returns it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.ser_value()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::deser_value(bytes)
    }
}

fn encode_upload(out: &mut Writer, outcome: &ObjectOutcome) {
    use ObjectOutcome as Of;
    match outcome {
        Of::UploadCreated { upload, created_ms } => {
            out.u8(170).u128_be(upload.0).varint(*created_ms);
        }
        Of::PartStored {
            modified_ms,
            under_protected,
        } => {
            out.u8(171).varint(*modified_ms).bool(*under_protected);
        }
        Of::PartsDropped { done } => {
            out.u8(172).bool(*done);
        }
        Of::UploadCompleted(completed) => completed.encode(out.u8(173)),
        Of::WriteOpened { epoch } => {
            out.u8(207).varint(*epoch);
        }
        Of::RunRecorded { persisted, crc64 } => {
            out.u8(208).varint(*persisted).u64_be(*crc64);
        }
        versions => encode_versions(out, versions),
    }
}

fn decode_upload(tag: u8, from: &mut Reader<'_>) -> Result<ObjectOutcome, DecodeError> {
    use ObjectOutcome as Of;
    Ok(match tag {
        170 => Of::UploadCreated {
            upload: UploadId(from.u128_be()?),
            created_ms: from.varint()?,
        },
        171 => Of::PartStored {
            modified_ms: from.varint()?,
            under_protected: from.bool()?,
        },
        172 => Of::PartsDropped { done: from.bool()? },
        173 => Of::UploadCompleted(CompletedUpload::decode(from)?),
        207 => Of::WriteOpened {
            epoch: from.varint()?,
        },
        208 => Of::RunRecorded {
            persisted: from.varint()?,
            crc64: from.u64_be()?,
        },
        212 => Of::Copied(Box::new(CopiedVersion::decode(from)?)),
        other => return Err(unknown("object outcome", other)),
    })
}

fn encode_versions(out: &mut Writer, outcome: &ObjectOutcome) {
    use ObjectOutcome as Of;
    match outcome {
        Of::Marked {
            generation,
            existed,
        } => {
            out.u8(175).varint(generation.0).bool(*existed);
        }
        Of::VersionDeleted { existed, marker } => {
            out.u8(176).bool(*existed).bool(*marker);
        }
        Of::Copied(copied) => copied.encode(out.u8(212)),
        Of::Expired(done) => done.encode(out.u8(199)),
        Of::Lease { lease, held } => {
            lease.encode(out.u8(197));
            held.encode(out);
        }
        Of::NoncurrentJudged { after, done } => {
            put_place(out.u8(177), after.as_ref());
            out.bool(*done);
        }
        Of::Annotated {
            generation,
            modified_ms,
        } => {
            out.u8(179).varint(generation.0).varint(*modified_ms);
        }
        _ => unreachable!("encoded by the caller"),
    }
}

/// 5 was the outcome of a pool's fence, in no release: the number is not used again.
impl Stored for ObjectOutcome {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Committed {
                version,
                generation,
                modified_ms,
                narrowed,
                under_protected,
            } => {
                out.u8(1)
                    .u128_be(version.0)
                    .varint(generation.0)
                    .varint(*modified_ms)
                    .bool(*narrowed)
                    .bool(*under_protected);
            }
            Self::AlreadyCommitted => {
                out.u8(2);
            }
            Self::Deleted {
                generation,
                existed,
            } => {
                out.u8(3).varint(generation.0).bool(*existed);
            }
            Self::Fenced { live, epoch, state } => {
                out.u8(4).varint(*live).varint(*epoch).u8(*state as u8);
            }
            Self::Done => {
                out.u8(6);
            }
            Self::Refused(refusal) => refusal.encode(out.u8(7)),
            Self::LayoutFenced { epoch } => {
                out.u8(8).varint(*epoch);
            }
            Self::Shard {
                place,
                missing,
                overridden,
            } => {
                out.u8(9).varint(place.0).bool(*missing).bool(*overridden);
            }
            Self::NotLive => {
                out.u8(10);
            }
            Self::Reencoded => {
                out.u8(11);
            }
            Self::Superseded => {
                out.u8(12);
            }
            Self::Judged { after, done } => {
                out.u8(40)
                    .option(after.as_ref(), |out, key| {
                        out.str(key);
                    })
                    .bool(*done);
            }
            uploads => encode_upload(out, uploads),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Committed {
                version: VersionId(from.u128_be()?),
                generation: Generation(from.varint()?),
                modified_ms: from.varint()?,
                narrowed: from.bool()?,
                under_protected: from.bool()?,
            },
            2 => Self::AlreadyCommitted,
            3 => Self::Deleted {
                generation: Generation(from.varint()?),
                existed: from.bool()?,
            },
            4 => Self::Fenced {
                live: from.varint()?,
                epoch: from.varint()?,
                state: BucketState::from_byte(from.u8()?)?,
            },
            6 => Self::Done,
            7 => Self::Refused(Refusal::decode(from)?),
            8 => Self::LayoutFenced {
                epoch: from.varint()?,
            },
            9 => Self::Shard {
                place: DriveId(from.varint()?),
                missing: from.bool()?,
                overridden: from.bool()?,
            },
            10 => Self::NotLive,
            11 => Self::Reencoded,
            12 => Self::Superseded,
            40 => Self::Judged {
                after: from.option(|from| from.str().map(str::to_owned))?,
                done: from.bool()?,
            },
            175 => Self::Marked {
                generation: Generation(from.varint()?),
                existed: from.bool()?,
            },
            176 => Self::VersionDeleted {
                existed: from.bool()?,
                marker: from.bool()?,
            },
            179 => Self::Annotated {
                generation: Generation(from.varint()?),
                modified_ms: from.varint()?,
            },
            199 => Self::Expired(Expired::decode(from)?),
            197 => Self::Lease {
                lease: Lease::decode(from)?,
                held: Amount::decode(from)?,
            },
            177 => Self::NoncurrentJudged {
                after: get_place(from)?,
                done: from.bool()?,
            },
            other => return decode_upload(other, from),
        })
    }
}
