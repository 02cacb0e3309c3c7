//! `marram check`: does to a cluster what an application does, and says of each step whether it went
//! well. For probes and `helm test`, in images without a shell.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use marram_client::{
    Client, ClientError, ErrorKind, ListQuery, Preconditions, PutBody, PutOptions,
};
use serde_json::json;

use crate::cli::{CheckCommand, PutGetArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::Output;

/// Bytes of the object, at most.
const SIZE_MAX: u64 = 256 << 20;
/// How long the object of a check that failed may take to go.
const TIDY_WITHIN: Duration = Duration::from_secs(5);

/// Runs a check.
pub(super) async fn run(context: &Context<'_>, command: CheckCommand) -> Result<(), Failure> {
    let CheckCommand::PutGet(args) = command;
    if args.size > SIZE_MAX {
        return Err(Failure::Usage(
            "a check keeps its object in memory: --size may be 256MiB at most",
        ));
    }
    let client = context.client()?;
    let check = Check {
        client: &client,
        output: &context.output,
        key: format!("check-{:016x}", rand::random::<u64>()),
        args: &args,
    };
    let checked = tokio::time::timeout(args.timeout, check.all()).await;
    let checked = checked.unwrap_or(Err(Failure::TooLate(args.timeout)));
    if checked.is_err() {
        // What may have been left; that it cannot be removed says nothing new.
        let any = Preconditions::default();
        let delete = client.delete(&args.bucket, &check.key, &any);
        let _ = tokio::time::timeout(TIDY_WITHIN, delete).await;
    }
    checked
}

struct Check<'a> {
    client: &'a Client,
    output: &'a Output,
    args: &'a PutGetArgs,
    key: String,
}

impl Check<'_> {
    /// Every step, until one fails.
    async fn all(&self) -> Result<(), Failure> {
        let data = content(self.args.size);
        self.step("bucket", Box::pin(self.bucket())).await?;
        self.step("put", Box::pin(self.put(&data))).await?;
        self.step("get", Box::pin(self.get(&data))).await?;
        self.step("list", Box::pin(self.listed(true))).await?;
        self.step("delete", Box::pin(self.delete())).await?;
        self.step("gone", Box::pin(self.listed(false))).await?;
        if self.args.remove_bucket {
            self.step("remove bucket", Box::pin(self.remove_bucket()))
                .await?;
        }
        Ok(())
    }

    /// Takes a step and says how it went.
    async fn step(
        &self,
        name: &'static str,
        work: BoxFuture<'_, Result<String, Failure>>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let done = work.await;
        let took_ms = began.elapsed().as_millis();
        let (ok, says) = match &done {
            Ok(says) => (true, says.clone()),
            Err(error) => (false, error.to_string()),
        };
        let value = json!({ "step": name, "ok": ok, "took_ms": took_ms, "says": says });
        self.output.done(&value, || {
            let mark = if ok { "ok" } else { "FAILED" };
            format!("{name:<14} {mark:<6} {took_ms:>6} ms  {says}")
        })?;
        done.map(|_| ())
    }

    fn at(&self, error: ClientError) -> Failure {
        Failure::at(format!("m://{}/{}", self.args.bucket, self.key))(error)
    }

    async fn bucket(&self) -> Result<String, Failure> {
        let bucket = &self.args.bucket;
        match self.client.head_bucket(bucket).await {
            Ok(info) => Ok(format!("m://{bucket} is there, profile {}", info.profile)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match self.client.create_bucket(bucket, None).await {
                    Ok(info) => Ok(format!("m://{bucket} was made, profile {}", info.profile)),
                    // Another check was quicker.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        Ok(format!("m://{bucket} is there"))
                    }
                    Err(error) => Err(self.at(error)),
                }
            }
            Err(error) => Err(self.at(error)),
        }
    }

    async fn put(&self, data: &Bytes) -> Result<String, Failure> {
        let body = PutBody::from(data.clone());
        let put = self
            .client
            .put(&self.args.bucket, &self.key, body, PutOptions::default());
        let info = put.await.map_err(|error| self.at(error))?;
        let profiles = info.profiles.join(", ");
        Ok(format!("{} bytes as {} {profiles}", info.size, self.key))
    }

    async fn get(&self, data: &Bytes) -> Result<String, Failure> {
        let get = self.client.get(&self.args.bucket, &self.key, None);
        let download = get.await.map_err(|error| self.at(error))?;
        let read = download.bytes(data.len()).await;
        let read = read.map_err(|error| self.at(error))?;
        match read.as_slice() == &data[..] {
            true => Ok(format!("{} bytes, the same as were written", read.len())),
            false => Err(Failure::WrongBytes(self.key.clone())),
        }
    }

    async fn listed(&self, wanted: bool) -> Result<String, Failure> {
        let query = ListQuery::all(self.key.as_str());
        let mut pages = self.client.list(&self.args.bucket, query);
        let mut found = false;
        while let Some(page) = pages.next().await.map_err(|error| self.at(error))? {
            found |= page.objects.iter().any(|object| object.key == self.key);
        }
        match (found, wanted) {
            (true, true) => Ok("the object is listed".to_owned()),
            (false, false) => Ok("the object is not listed any more".to_owned()),
            (false, true) => Err(Failure::Check(
                "the object is not listed after it was written",
            )),
            (true, false) => Err(Failure::Check(
                "the object is still listed after its deletion",
            )),
        }
    }

    async fn delete(&self) -> Result<String, Failure> {
        let any = Preconditions::default();
        let delete = self.client.delete(&self.args.bucket, &self.key, &any);
        delete.await.map_err(|error| self.at(error))?;
        let head = self.client.head(&self.args.bucket, &self.key).await;
        match head {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok("deleted".to_owned()),
            Err(error) => Err(self.at(error)),
            Ok(_) => Err(Failure::Check(
                "the object is still there after its deletion",
            )),
        }
    }

    async fn remove_bucket(&self) -> Result<String, Failure> {
        match self.client.delete_bucket(&self.args.bucket).await {
            Ok(()) => Ok("removed".to_owned()),
            // Another check is under way in it, and removes it at its end.
            Err(error) if error.reason() == Some("BUCKET_NOT_EMPTY") => {
                Ok("left: something else is in it".to_owned())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok("was removed".to_owned()),
            Err(error) => Err(self.at(error)),
        }
    }
}

/// Bytes that differ from check to check.
fn content(size: u64) -> Bytes {
    let mut data = vec![0; usize::try_from(size).expect("bounded by the command line")];
    rand::fill(&mut data[..]);
    data.into()
}
