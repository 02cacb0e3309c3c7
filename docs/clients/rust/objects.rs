//! Puts, gets, lists and watches an object. See docs/clients/README.md.

use std::env::var;

use marram_client::{Client, ClientConfig, ListQuery, PutBody, PutOptions, WatchOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [bucket, key, text] = [1, 2, 3].map(|at| std::env::args().nth(at).unwrap_or_default());
    let config = ClientConfig::new(
        var("MARRAM_ENDPOINT")?,
        var("MARRAM_ACCESS_KEY")?,
        var("MARRAM_SECRET_KEY")?,
    );
    let client = Client::connect(config)?;

    let before = client.list(&bucket, ListQuery::all(&key)).next().await?;

    let body = PutBody::from(text.into_bytes());
    let object = client
        .put(&bucket, &key, body, PutOptions::default())
        .await?;
    println!("put {} {}", object.key, object.size);

    let bytes = client
        .get(&bucket, &key, None)
        .await?
        .bytes(1 << 20)
        .await?;
    println!("get {}", String::from_utf8(bytes)?);

    let mut pages = client.list(&bucket, ListQuery::all(&key));
    while let Some(page) = pages.next().await? {
        for object in page.objects {
            println!("list {} {}", object.key, object.size);
        }
    }

    let options = WatchOptions {
        prefix: key,
        from: before.and_then(|page| page.revision),
        ..WatchOptions::default()
    };
    let mut watch = client.watch(&bucket, options);
    loop {
        // Without a change a message comes too, now and then.
        if let Some(event) = watch.next().await?.events.first() {
            println!("watch {} {} {}", event.kind.name(), event.key, event.size);
            return Ok(());
        }
    }
}
