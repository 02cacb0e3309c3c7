//! What an object group can be asked.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketId, DataId, DriveId, Generation, ObjectKey, PgId, RequestId};

use super::due::DueQuery;
use super::events::EventsQuery;
use super::named::NamedCursor;
use super::uploads::{UploadQuery, UploadsQuery};
use crate::kinds::data_ref::{get_pair, put_pair};
use crate::kinds::ticket::TicketWork;
use crate::object::command::get_key;
use crate::refusal::unknown;
use crate::stored::{Stored, get_drives, get_pg, only_version, put_drives, put_pg};

/// Version of the messages, raised with any change of their form. Only this one is read.
const VERSION: u8 = 2;

/// Where a listing goes on. The order is that of the keys' bytes; a common prefix stands for all
/// keys that begin with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListStart {
    /// From the first key.
    #[default]
    Begin,
    /// From the first key after this one, which need not exist.
    AfterKey(String),
    /// From the first key after all that begin with this prefix.
    AfterPrefix(String),
    /// From the first version after this one, which need not exist: the versions of a key descend by
    /// generation. Only listings of versions begin so.
    AfterVersion(String, Generation),
}

impl ListStart {
    /// A form for continuation tokens.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.ser_value()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are not such a form: a token that the client made up.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::deser_value(bytes)
    }
}

impl Stored for ListStart {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Begin => out.u8(1),
            Self::AfterKey(key) => out.u8(2).str(key),
            Self::AfterPrefix(prefix) => out.u8(3).str(prefix),
            Self::AfterVersion(key, generation) => out.u8(4).str(key).varint(generation.0),
        };
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Begin,
            2 => Self::AfterKey(from.str()?.to_owned()),
            3 => Self::AfterPrefix(from.str()?.to_owned()),
            4 => Self::AfterVersion(from.str()?.to_owned(), Generation(from.varint()?)),
            other => return Err(unknown("list start", other)),
        })
    }
}

/// A page of a group's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin with it; empty: all.
    pub prefix: String,
    /// Where to go on.
    pub start: ListStart,
    /// Keys that have it after the prefix are rolled up into a common prefix; empty: none are.
    pub delimiter: String,
    /// Most items, objects and common prefixes together; at most `LIST_PAGE_MAX` are given.
    pub limit: u32,
}

/// A question to an object group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectQuery {
    /// The current version of an object, with its bytes when they are inline.
    Head {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
    },
    /// A page of keys.
    List(ListQuery),
    /// A page of versions and delete markers, by key and the newest of each first.
    ListVersions(ListQuery),
    /// What a key has of a generation; without one what it has at present, delete markers too.
    Version {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The generation.
        generation: Option<Generation>,
    },
    /// Buckets whose noncurrent versions have yet to be judged by their changed profile.
    JudgingNoncurrent,
    /// What a write needs to begin (placement-protocol.md 1).
    Begin {
        /// The bucket.
        bucket: BucketId,
    },
    /// The counters of a bucket, or of all together.
    Usage {
        /// The bucket; none: all.
        bucket: Option<BucketId>,
    },
    /// What the group holds of a bucket, and its part of the bucket's quota.
    Lease {
        /// The bucket.
        bucket: BucketId,
    },
    /// What of a bucket is due by its rules.
    Due(DueQuery),
    /// What the group holds beside objects: floors, queues.
    Status,
    /// Garbage whose shards may be deleted now (rules.md 27, 28), by the index at which its write
    /// began.
    Garbage {
        /// Only those after this one: the index that displaced it, and its data.
        after: Option<(u64, DataId)>,
        /// Most entries.
        limit: u32,
    },
    /// What the group knows about shards that a node holds.
    References(Vec<(PgId, DataId)>),
    /// The extent of some data, as something holds it now.
    Live {
        /// Its placement group.
        pg: PgId,
        /// Its data.
        data: DataId,
    },
    /// An upload and a page of its parts.
    Upload(UploadQuery),
    /// A page of the uploads of a bucket.
    Uploads(UploadsQuery),
    /// Whether parts that nothing wants are to be taken out of use.
    Drops,
    /// Repair tickets in the order of data ids.
    Tickets {
        /// Only those after this one.
        after: Option<DataId>,
        /// Most tickets.
        limit: u32,
    },
    /// Repair tickets that wait for some kinds of work, by kind and data id.
    Queue {
        /// The first kind.
        from: TicketWork,
        /// The last kind.
        to: TicketWork,
        /// Only those after this one.
        after: Option<(TicketWork, DataId)>,
        /// Most tickets.
        limit: u32,
    },
    /// Buckets whose versions have yet to be judged by their changed profile.
    Judging,
    /// Live extents of one placement group in the order of data ids, as a move needs them: asked
    /// only when the group was fenced (placement-protocol.md 3).
    Rows {
        /// The placement group.
        pg: PgId,
        /// Only those after this one.
        after: Option<DataId>,
        /// Most extents.
        limit: u32,
    },
    /// What readers look for on a drive, as one that is scrubbed is compared with it.
    OnDrive {
        /// The drive.
        drive: DriveId,
        /// Only what comes after this.
        after: Option<(PgId, DataId)>,
        /// Most extents.
        limit: u32,
    },
    /// What happened after a place.
    Events(EventsQuery),
    /// What came of a request, as far as it is known still.
    Request(RequestId),
    /// How much garbage waits to be removed.
    GarbageTotals,
    /// How much lacks shards, and how urgently.
    LostTotals,
    /// The counters of each bucket, by ids.
    Usages {
        /// The last one of the page before.
        after: Option<BucketId>,
        /// Most buckets.
        limit: u32,
    },
    /// What names drives: asked only when the group has applied their tombstone (rules.md 25).
    Named {
        /// The drives.
        drives: Vec<DriveId>,
        /// Where to go on.
        after: Option<NamedCursor>,
        /// Most rows to go through.
        limit: u32,
    },
}

impl ObjectQuery {
    /// The form that crosses the mesh.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(128);
        out.u8(VERSION);
        Stored::encode(self, &mut out);
        out.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        only_version(&mut from, "query version", VERSION)?;
        let query = <Self as Stored>::decode(&mut from)?;
        from.finish()?;
        Ok(query)
    }
}

impl Stored for ListQuery {
    fn encode(&self, out: &mut Writer) {
        out.u64_be(self.bucket.0).str(&self.prefix);
        self.start.encode_into(out);
        out.str(&self.delimiter).varint(u64::from(self.limit));
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            bucket: BucketId(from.u64_be()?),
            prefix: from.str()?.to_owned(),
            start: <ListStart as Stored>::decode(from)?,
            delimiter: from.str()?.to_owned(),
            limit: get_limit(from)?,
        })
    }
}

impl ListStart {
    fn encode_into(&self, out: &mut Writer) {
        Stored::encode(self, out);
    }
}

fn get_limit(from: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(from.varint()?).map_err(|_| DecodeError::Invalid("limit"))
}

fn get_garbage(from: &mut Reader<'_>) -> Result<ObjectQuery, DecodeError> {
    Ok(ObjectQuery::Garbage {
        after: from.option(|from| Ok((from.varint()?, DataId::decode(from)?)))?,
        limit: get_limit(from)?,
    })
}

fn get_usages(from: &mut Reader<'_>) -> Result<ObjectQuery, DecodeError> {
    Ok(ObjectQuery::Usages {
        after: from.option(Reader::u64_be)?.map(BucketId),
        limit: get_limit(from)?,
    })
}

fn put_on_drive(out: &mut Writer, drive: DriveId, after: Option<(PgId, DataId)>, limit: u32) {
    out.varint(drive.0)
        .option(after.as_ref(), |out, pair| put_pair(out, *pair))
        .varint(u64::from(limit));
}

fn encode_uploads(out: &mut Writer, query: &ObjectQuery) {
    match query {
        ObjectQuery::Live { pg, data } => put_pair(out.u8(70), (*pg, *data)),
        ObjectQuery::Upload(query) => query.encode(out.u8(71)),
        ObjectQuery::Uploads(query) => query.encode(out.u8(72)),
        ObjectQuery::Drops => {
            out.u8(73);
        }
        ObjectQuery::Version {
            bucket,
            key,
            generation,
        } => {
            out.u8(80).u64_be(bucket.0).str(key.as_str()).option(
                generation.as_ref(),
                |out, generation| {
                    out.varint(generation.0);
                },
            );
        }
        ObjectQuery::ListVersions(query) => query.encode(out.u8(81)),
        ObjectQuery::Due(query) => query.encode(out.u8(199)),
        ObjectQuery::Lease { bucket } => {
            out.u8(197).u64_be(bucket.0);
        }
        ObjectQuery::JudgingNoncurrent => {
            out.u8(82);
        }
        ObjectQuery::Events(query) => query.encode(out.u8(90)),
        ObjectQuery::LostTotals => {
            out.u8(110);
        }
        ObjectQuery::Usages { after, limit } => {
            out.u8(111)
                .option(after.as_ref(), |out, bucket| {
                    out.u64_be(bucket.0);
                })
                .varint(u64::from(*limit));
        }
        ObjectQuery::Request(request) => {
            out.u8(213).raw(&request.to_bytes());
        }
        _ => unreachable!("encoded by the caller"),
    }
}

impl Stored for ObjectQuery {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Head { bucket, key } => {
                out.u8(1).u64_be(bucket.0).str(key.as_str());
            }
            Self::List(list) => list.encode(out.u8(2)),
            Self::Begin { bucket } => {
                out.u8(3).u64_be(bucket.0);
            }
            Self::Usage { bucket } => {
                out.u8(4).option(bucket.as_ref(), |out, bucket| {
                    out.u64_be(bucket.0);
                });
            }
            Self::Status => {
                out.u8(5);
            }
            Self::Garbage { after, limit } => {
                out.u8(6)
                    .option(after.as_ref(), |out, (at, data)| {
                        data.encode(out.varint(*at));
                    })
                    .varint(u64::from(*limit));
            }
            Self::References(pairs) => {
                out.u8(7).list(pairs, |out, pair| put_pair(out, *pair));
            }
            Self::Tickets { after, limit } => {
                out.u8(8)
                    .option(after.as_ref(), |out, data| data.encode(out))
                    .varint(u64::from(*limit));
            }
            Self::Queue {
                from,
                to,
                after,
                limit,
            } => {
                out.u8(40).u8(*from as u8).u8(*to as u8);
                out.option(after.as_ref(), |out, (work, data)| {
                    data.encode(out.u8(*work as u8));
                })
                .varint(u64::from(*limit));
            }
            Self::Judging => {
                out.u8(41);
            }
            Self::Rows { pg, after, limit } => {
                put_pg(out.u8(9), *pg);
                out.option(after.as_ref(), |out, data| data.encode(out))
                    .varint(u64::from(*limit));
            }
            Self::OnDrive {
                drive,
                after,
                limit,
            } => put_on_drive(out.u8(60), *drive, *after, *limit),
            Self::GarbageTotals => {
                out.u8(61);
            }
            Self::Named {
                drives,
                after,
                limit,
            } => {
                put_drives(out.u8(55), drives);
                out.option(after.as_ref(), |out, after| after.encode(out))
                    .varint(u64::from(*limit));
            }
            uploads => encode_uploads(out, uploads),
        }
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.u8()? {
            1 => Self::Head {
                bucket: BucketId(from.u64_be()?),
                key: get_key(from)?,
            },
            2 => Self::List(ListQuery::decode(from)?),
            3 => Self::Begin {
                bucket: BucketId(from.u64_be()?),
            },
            4 => Self::Usage {
                bucket: from.option(Reader::u64_be)?.map(BucketId),
            },
            5 => Self::Status,
            6 => get_garbage(from)?,
            7 => Self::References(from.list(get_pair)?),
            8 => Self::Tickets {
                after: from.option(DataId::decode)?,
                limit: get_limit(from)?,
            },
            9 => Self::Rows {
                pg: get_pg(from)?,
                after: from.option(DataId::decode)?,
                limit: get_limit(from)?,
            },
            60 => Self::OnDrive {
                drive: DriveId(from.varint()?),
                after: from.option(get_pair)?,
                limit: get_limit(from)?,
            },
            61 => Self::GarbageTotals,
            111 => get_usages(from)?,
            70 => {
                let (pg, data) = get_pair(from)?;
                Self::Live { pg, data }
            }
            71 => Self::Upload(UploadQuery::decode(from)?),
            72 => Self::Uploads(UploadsQuery::decode(from)?),
            73 => Self::Drops,
            80 => Self::Version {
                bucket: BucketId(from.u64_be()?),
                key: get_key(from)?,
                generation: from.option(Reader::varint)?.map(Generation),
            },
            81 => Self::ListVersions(ListQuery::decode(from)?),
            82 => Self::JudgingNoncurrent,
            90 => Self::Events(EventsQuery::decode(from)?),
            55 => Self::Named {
                drives: get_drives(from)?,
                after: from.option(NamedCursor::decode)?,
                limit: get_limit(from)?,
            },
            40 => Self::Queue {
                from: TicketWork::from_byte(from.u8()?)?,
                to: TicketWork::from_byte(from.u8()?)?,
                after: from.option(|from| {
                    let work = TicketWork::from_byte(from.u8()?)?;
                    Ok((work, DataId::decode(from)?))
                })?,
                limit: get_limit(from)?,
            },
            41 => Self::Judging,
            other => return decode_later(other, from),
        })
    }
}

/// Queries that came later.
fn decode_later(tag: u8, from: &mut Reader<'_>) -> Result<ObjectQuery, DecodeError> {
    Ok(match tag {
        110 => ObjectQuery::LostTotals,
        197 => ObjectQuery::Lease {
            bucket: BucketId(from.u64_be()?),
        },
        199 => ObjectQuery::Due(DueQuery::decode(from)?),
        213 => ObjectQuery::Request(RequestId::decode(from)?),
        other => return Err(unknown("object query", other)),
    })
}
