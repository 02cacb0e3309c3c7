"""Puts, gets, lists and watches an object. See ../README.md."""

import base64, hashlib, hmac, json, os, sys, time

import google_crc32c
import grpc
from marram.v1 import common_pb2, object_pb2 as pb, object_pb2_grpc, watch_pb2, watch_pb2_grpc


def token(key, secret):
    part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    now = int(time.time())
    header = {"alg": "HS256", "typ": "JWT", "kid": key}
    claims = {"sub": key, "aud": "marram", "iat": now, "exp": now + 240}
    text = b".".join(part(json.dumps(piece).encode()) for piece in (header, claims))
    return (text + b"." + part(hmac.digest(secret.encode(), text, hashlib.sha256))).decode()


def upload(bucket, key, data):
    yield pb.PutObjectRequest(header=pb.PutObjectHeader(bucket=bucket, key=key, size=len(data)))
    for at in range(0, len(data), 1 << 20):
        piece = data[at : at + (1 << 20)]
        chunk = common_pb2.Chunk(data=piece, crc32c=google_crc32c.value(piece))
        yield pb.PutObjectRequest(chunk=chunk)


bucket, key, text = sys.argv[1:]
signed = token(os.environ["MARRAM_ACCESS_KEY"], os.environ["MARRAM_SECRET_KEY"])
call = {"metadata": [("authorization", "Bearer " + signed)], "timeout": 30}
with grpc.insecure_channel(os.environ["MARRAM_ENDPOINT"].split(",")[0]) as channel:
    objects = object_pb2_grpc.ObjectServiceStub(channel)
    before = objects.ListObjects(pb.ListObjectsRequest(bucket=bucket, prefix=key), **call)

    put = objects.PutObject(upload(bucket, key, text.encode()), **call).object
    print("put", put.key, put.size)

    got = objects.GetObject(pb.GetObjectRequest(bucket=bucket, key=key), **call)
    print("get", b"".join(answer.chunk.data for answer in got).decode())

    page = objects.ListObjects(pb.ListObjectsRequest(bucket=bucket, prefix=key), **call)
    for found in page.objects:
        print("list", found.key, found.size)

    watches = watch_pb2_grpc.WatchServiceStub(channel)
    since = watch_pb2.WatchObjectsRequest(bucket=bucket, prefix=key, revision=before.revision)
    for message in watches.WatchObjects(since, **call):
        # Without a change a message comes too, now and then.
        for event in message.events[:1]:
            kind = watch_pb2.ObjectEventKind.Name(event.kind).removeprefix("OBJECT_EVENT_KIND_")
            print("watch", kind.lower(), event.key, event.size)
        if message.events:
            break
