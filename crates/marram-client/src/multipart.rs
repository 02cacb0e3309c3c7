//! Large files go up in parts, some at once: each is sent again by itself, through whatever server
//! answers, and an upload that broke off can be gone on with.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use marram_proto::v1;
use marram_proto::v1::put_object_request::Message as Put;
use marram_proto::v1::upload_part_request::Message;
use marram_types::Crc64Nvme;
use marram_types::caps::{MIB, UPLOAD_PARTS_MAX};

use crate::client::{Client, Lane, present, repeatable};
use crate::error::{ClientError, ErrorKind};
use crate::put::{PutOptions, Watcher};
use crate::source::{checksum_of, open_range};
use crate::types::ObjectInfo;
use crate::upload::{Progress, Upload};

/// Files from this size on go up in parts.
pub const MULTIPART_BYTES_MIN: u64 = 64 * MIB as u64;
/// A part, unless the file is so large that parts must be larger: more than about 312 GiB.
pub const PART_BYTES: u64 = 32 * MIB as u64;
/// Parts on their way at once. Each holds some pieces of 1 MiB that are read ahead, whatever its size.
pub const PARTS_AT_ONCE: usize = 4;

/// A file on its way.
struct Job<'a> {
    client: &'a Client,
    path: &'a Path,
    size: u64,
    bucket: &'a str,
    key: &'a str,
    upload_id: String,
    /// Kinds of checksums that the whole is to be compared by.
    compute: Vec<i32>,
    watcher: Option<Watcher>,
}

/// Size of the parts of a file: whole MiB, and no more parts than an upload may have. It follows from
/// the size alone, so that an upload can be gone on with.
fn part_bytes(size: u64) -> u64 {
    let least = size.div_ceil(u64::from(UPLOAD_PARTS_MAX));
    least.next_multiple_of(MIB as u64).max(PART_BYTES)
}

/// The parts of a file: number and bytes.
fn parts_of(size: u64) -> impl Iterator<Item = (u32, Range<u64>)> {
    let each = part_bytes(size);
    (1..)
        .zip((0..size).step_by(usize::try_from(each).unwrap_or(usize::MAX)))
        .map(move |(number, start)| (number, start..(start + each).min(size)))
}

impl Client {
    /// Writes a large file in parts.
    pub(crate) async fn put_in_parts(
        &self,
        (bucket, key): (&str, &str),
        path: PathBuf,
        size: u64,
        options: PutOptions,
    ) -> Result<ObjectInfo, ClientError> {
        let found = if options.resume {
            self.upload_to_resume(bucket, key).await?
        } else {
            None
        };
        let upload_id = match found {
            Some(upload_id) => upload_id,
            None => self.create_upload(bucket, key, &options).await?,
        };
        let job = Job {
            client: self,
            path: &path,
            size,
            bucket,
            key,
            upload_id,
            compute: options
                .checksums
                .crc32c
                .iter()
                .map(|_| v1::ChecksumKind::Crc32c.into())
                .collect(),
            watcher: options.watcher.clone(),
        };
        let done = job.run(&options).await;
        // What may yet be gone on with, or was perhaps completed, stays.
        let certain = |error: &ClientError| !repeatable(error);
        if !options.resume && done.as_ref().is_err_and(certain) {
            let aborted = self.abort_upload(bucket, key, &job.upload_id).await;
            if let Err(error) = aborted {
                tracing::debug!(%error, upload = job.upload_id, "an upload stays behind");
            }
        }
        done
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        options: &PutOptions,
    ) -> Result<String, ClientError> {
        let message = v1::CreateUploadRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            content_type: options.content_type.clone(),
            metadata: options.metadata.clone().into_iter().collect(),
            request_id: Some(self.request_id()),
            tags: options.tags.clone().into_iter().collect(),
            profile: options.profile.clone().unwrap_or_default(),
        };
        let created = self
            .unary(message, |lane, request| async move {
                lane.uploads().create_upload(request).await
            })
            .await?;
        Ok(created.upload_id)
    }

    /// The youngest upload of exactly this key.
    async fn upload_to_resume(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<String>, ClientError> {
        let mut pages = self.list_uploads(bucket, key);
        let mut youngest: Option<(i64, String)> = None;
        while let Some(page) = pages.next().await? {
            let of_key = page
                .into_iter()
                .filter(|upload| upload.key == key && !upload.stream);
            let candidates = of_key.map(|upload| (upload.created_ms, upload.upload_id));
            youngest = youngest.into_iter().chain(candidates).max();
        }
        Ok(youngest.map(|(_, upload_id)| upload_id))
    }
}

impl Job<'_> {
    async fn run(&self, options: &PutOptions) -> Result<ObjectInfo, ClientError> {
        let there = if options.resume {
            self.stored().await?
        } else {
            BTreeMap::new()
        };
        let parts = stream::iter(parts_of(self.size))
            .map(|(number, range)| self.part(number, range, there.get(&number)))
            .buffered(PARTS_AT_ONCE);
        let parts: Vec<v1::UploadedPart> = parts.try_collect().await?;
        let join = |sum, part: &v1::UploadedPart| {
            let crc64 = part.checksums.as_ref().and_then(|sums| sums.crc64nvme);
            Crc64Nvme::joined(sum, crc64.unwrap_or_default(), part.size)
        };
        let crc64nvme = Some(parts.iter().fold(Crc64Nvme::default().value(), join));
        let mut checksums = options.checksums.to_wire().unwrap_or_default();
        checksums.crc64nvme = checksums.crc64nvme.or(crc64nvme);
        let message = v1::CompleteUploadRequest {
            bucket: self.bucket.to_owned(),
            key: self.key.to_owned(),
            upload_id: self.upload_id.clone(),
            parts: parts.into_iter().map(named).collect(),
            preconditions: options.preconditions.to_wire(),
            request_id: Some(self.client.request_id()),
            checksums: Some(checksums),
            size: Some(self.size),
        };
        let done = self
            .client
            .unary(message, |lane, request| async move {
                lane.uploads().complete_upload(request).await
            })
            .await?;
        present(done.object, "object").map(ObjectInfo::from_wire)
    }

    /// The parts that an upload has already, by number.
    async fn stored(&self) -> Result<BTreeMap<u32, v1::UploadedPart>, ClientError> {
        let mut message = v1::ListPartsRequest {
            bucket: self.bucket.to_owned(),
            key: self.key.to_owned(),
            upload_id: self.upload_id.clone(),
            page_size: 0,
            page_token: String::new(),
        };
        let mut there = BTreeMap::new();
        loop {
            let list =
                |lane: Lane, request| async move { lane.uploads().list_parts(request).await };
            let page = self.client.unary(message.clone(), list).await?;
            there.extend(page.parts.into_iter().map(|part| (part.part_number, part)));
            if page.next_page_token.is_empty() {
                return Ok(there);
            }
            message.page_token = page.next_page_token;
        }
    }

    /// Sends a part, unless the very same bytes are there already.
    async fn part(
        &self,
        number: u32,
        range: Range<u64>,
        there: Option<&v1::UploadedPart>,
    ) -> Result<v1::UploadedPart, ClientError> {
        let size = range.end - range.start;
        if let Some(part) = there.filter(|part| part.size == size) {
            let here = checksum_of(self.path, range.clone()).await?;
            if part.checksums.as_ref().and_then(|sums| sums.crc64nvme) == Some(here) {
                if let Some(watcher) = &self.watcher {
                    watcher.moved(size);
                }
                return Ok(part.clone());
            }
        }
        let header = v1::UploadPartHeader {
            bucket: self.bucket.to_owned(),
            key: self.key.to_owned(),
            upload_id: self.upload_id.clone(),
            part_number: number,
            size: Some(size),
            request_id: Some(self.client.request_id()),
            checksums: None,
            compute: self.compute.clone(),
        };
        let may_repeat =
            |error: &ClientError| repeatable(error) || error.kind() == ErrorKind::Corrupt;
        self.client
            .attempts(may_repeat, |lane| {
                self.part_once(lane, header.clone(), range.clone())
            })
            .await
    }

    async fn part_once(
        &self,
        lane: Lane,
        header: v1::UploadPartHeader,
        range: Range<u64>,
    ) -> Result<v1::UploadedPart, ClientError> {
        let progress = std::sync::Arc::new(Progress::default());
        let as_put = v1::PutObjectHeader {
            size: header.size,
            ..v1::PutObjectHeader::default()
        };
        let pieces = open_range(self.path.to_owned(), range);
        let (upload, mut failed) = Upload::new(
            as_put,
            pieces,
            std::sync::Arc::clone(&progress),
            self.watcher.clone(),
        );
        let messages = upload.map(move |message| as_part(message, &header));
        let mut uploads = lane.uploads();
        let stall = self.client.stall_timeout();
        let result = tokio::select! {
            Ok(error) = &mut failed => Err(error),
            answer = uploads.upload_part(lane.request(messages)) => match answer {
                Ok(answer) => present(answer.into_inner().part, "part"),
                Err(status) => Err(ClientError::from_status(&status)),
            },
            () = progress.stalled(stall) => Err(ClientError::new(
                ErrorKind::Timeout,
                format!("the upload stood still for {} s", stall.as_secs_f32()),
            )),
        };
        if let (Err(_), Some(watcher)) = (&result, &self.watcher) {
            watcher.lost(progress.sent());
        }
        result
    }
}

fn named(part: v1::UploadedPart) -> v1::CompletedPart {
    v1::CompletedPart {
        part_number: part.part_number,
        etag: part.etag,
        checksums: part.checksums,
    }
}

/// A message of a put as one of a part.
fn as_part(message: v1::PutObjectRequest, header: &v1::UploadPartHeader) -> v1::UploadPartRequest {
    let message = message.message.map(|message| match message {
        Put::Header(_) => Message::Header(header.clone()),
        Put::Chunk(chunk) => Message::Chunk(chunk),
        Put::Trailer(trailer) => Message::Trailer(trailer),
    });
    v1::UploadPartRequest { message }
}

#[cfg(test)]
mod tests {
    use marram_types::caps::{GIB, OBJECT_BYTES_MAX, PART_BYTES_MAX, PART_BYTES_MIN};

    use super::*;

    #[test]
    fn parts_cover_a_file_and_keep_the_limits() {
        let tib = 1024 * GIB;
        for size in [
            1,
            PART_BYTES,
            PART_BYTES + 1,
            MULTIPART_BYTES_MIN,
            tib,
            OBJECT_BYTES_MAX,
        ] {
            let each = part_bytes(size);
            assert!(
                (PART_BYTES_MIN..=PART_BYTES_MAX).contains(&each),
                "{size}: {each}"
            );
            let mut next = 0;
            let mut count = 0;
            for (number, range) in parts_of(size) {
                count += 1;
                assert_eq!((number, range.start), (count, next));
                assert!(range.end - range.start == each || range.end == size);
                next = range.end;
            }
            assert_eq!(next, size);
            assert!(count <= u32::from(UPLOAD_PARTS_MAX), "{size}: {count}");
        }
    }
}
