//! Many objects at once, every byte compared.

use futures::{StreamExt, TryStreamExt, stream};
use marram_client::{Client, ClientError, ObjectInfo, PutBody, PutOptions};

use crate::Object;

/// Requests at once; more only wait for the processor.
const AT_ONCE: usize = 6;

/// Puts one object.
///
/// # Errors
/// The client's.
pub async fn put(
    client: &Client,
    bucket: &str,
    object: &Object,
) -> Result<ObjectInfo, ClientError> {
    let body = PutBody::from(object.content.clone());
    client
        .put(bucket, &object.key, body, PutOptions::default())
        .await
}

/// Puts all objects.
///
/// # Panics
/// When one is refused.
pub async fn put_all(client: &Client, bucket: &str, objects: &[Object]) -> Vec<ObjectInfo> {
    stream::iter(objects)
        .map(async |object| {
            let done = put(client, bucket, object).await;
            done.unwrap_or_else(|error| panic!("put {:?}: {error}", object.key))
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Reads a whole object.
///
/// # Errors
/// The client's.
pub async fn get(client: &Client, bucket: &str, key: &str) -> Result<Vec<u8>, ClientError> {
    client.get(bucket, key, None).await?.bytes(usize::MAX).await
}

/// Reads an object and compares it with what it must be, as it comes.
///
/// # Errors
/// Says which object differs, and where.
pub async fn verify(client: &Client, bucket: &str, object: &Object) -> Result<(), String> {
    let said = |error: ClientError| format!("get {:?}: {error}", object.key);
    let mut download = client.get(bucket, &object.key, None).await.map_err(said)?;
    let mut rest = object.content.clone();
    while let Some(piece) = download.next().await {
        let piece = piece.map_err(said)?;
        let at = object.content.len() - rest.len();
        if piece.len() > rest.len() || piece != rest.split_to(piece.len()) {
            return Err(format!("{:?} differs in the piece at {at}", object.key));
        }
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(format!("{:?} ends {} bytes early", object.key, rest.len()))
    }
}

/// Compares all objects.
///
/// # Panics
/// When one differs or cannot be read.
pub async fn verify_all(client: &Client, bucket: &str, objects: &[Object]) {
    let all = stream::iter(objects).map(|object| verify(client, bucket, object));
    let compared: Result<Vec<()>, String> = all.buffer_unordered(AT_ONCE).try_collect().await;
    if let Err(what) = compared {
        panic!("{what}");
    }
}
