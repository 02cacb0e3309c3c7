// Puts, gets, lists and watches an object. See ../README.md.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "marram.dev/clients/marram/v1"
)

func token(key, secret string) string {
	part := base64.RawURLEncoding.EncodeToString
	now := time.Now().Unix()
	text := part(fmt.Appendf(nil, `{"alg":"HS256","typ":"JWT","kid":%q}`, key)) + "." +
		part(fmt.Appendf(nil, `{"sub":%q,"aud":"marram","iat":%d,"exp":%d}`, key, now, now+240))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + part(mac.Sum(nil))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	bucket, key, data := os.Args[1], os.Args[2], []byte(os.Args[3])
	endpoint, _, _ := strings.Cut(os.Getenv("MARRAM_ENDPOINT"), ",")
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	signed := token(os.Getenv("MARRAM_ACCESS_KEY"), os.Getenv("MARRAM_SECRET_KEY"))
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+signed)
	objects := pb.NewObjectServiceClient(conn)
	before, err := objects.ListObjects(ctx, &pb.ListObjectsRequest{Bucket: bucket, Prefix: key})
	check(err)

	// A send that fails says only that the call is over; the answer says why.
	put, err := objects.PutObject(ctx)
	check(err)
	size := uint64(len(data))
	header := &pb.PutObjectHeader{Bucket: bucket, Key: key, Size: &size}
	err = put.Send(&pb.PutObjectRequest{Message: &pb.PutObjectRequest_Header{Header: header}})
	for at := 0; at < len(data) && err == nil; at += 1 << 20 {
		piece := data[at:min(at+1<<20, len(data))]
		sum := crc32.Checksum(piece, crc32.MakeTable(crc32.Castagnoli))
		chunk := &pb.PutObjectRequest_Chunk{Chunk: &pb.Chunk{Data: piece, Crc32C: sum}}
		err = put.Send(&pb.PutObjectRequest{Message: chunk})
	}
	written, err := put.CloseAndRecv()
	check(err)
	fmt.Println("put", written.Object.Key, written.Object.Size)

	get, err := objects.GetObject(ctx, &pb.GetObjectRequest{Bucket: bucket, Key: key})
	check(err)
	var got []byte
	for {
		answer, err := get.Recv()
		if err == io.EOF {
			break
		}
		check(err)
		got = append(got, answer.GetChunk().GetData()...)
	}
	fmt.Printf("get %s\n", got)

	page, err := objects.ListObjects(ctx, &pb.ListObjectsRequest{Bucket: bucket, Prefix: key})
	check(err)
	for _, found := range page.Objects {
		fmt.Println("list", found.Key, found.Size)
	}

	since := &pb.WatchObjectsRequest{Bucket: bucket, Prefix: key, Revision: before.Revision}
	watch, err := pb.NewWatchServiceClient(conn).WatchObjects(ctx, since)
	check(err)
	for {
		message, err := watch.Recv()
		check(err)
		// Without a change a message comes too, now and then.
		if len(message.Events) > 0 {
			event := message.Events[0]
			kind := strings.TrimPrefix(event.Kind.String(), "OBJECT_EVENT_KIND_")
			fmt.Println("watch", strings.ToLower(kind), event.Key, event.Size)
			return
		}
	}
}
