package sdk

import (
	"bytes"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

func startForAzurite(t *testing.T) *rig.Daemon {
	t.Helper()
	return env.Start(t, rig.Settings{IMDS: rig.StartIMDS(t, imdstest.Options{}), Upstream: env.store.ConnectTo(), Routes: routes})
}

// azblob without a credential uploads in blocks, downloads in ranges, lists and
// deletes: in Azurite, and in the fake that judges the token's signature and
// the version of the protocol.
func TestBlobs(t *testing.T) {
	fake, _ := startForCloud(t)
	for name, d := range map[string]*rig.Daemon{"Azurite": startForAzurite(t), "fake": fake} {
		for i, s := range steerings(t, d) {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				client, err := azblob.NewClientWithNoCredential(s.url(rig.BlobHost, "blob"), &azblob.ClientOptions{ClientOptions: s.options})
				if err != nil {
					t.Fatal(err)
				}
				blobs(t, client, "container"+string(rune('a'+i)))
			})
		}
	}
}

// azblob with the key of an account, which is a dummy, works the same.
func TestBlobsWithADeadKey(t *testing.T) {
	fake, _ := startForCloud(t)
	for name, d := range map[string]*rig.Daemon{"Azurite": startForAzurite(t), "fake": fake} {
		for i, s := range steerings(t, d) {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				key, err := azblob.NewSharedKeyCredential("acct", "bm8ga2V5IG9mIGFueSBhY2NvdW50")
				if err != nil {
					t.Fatal(err)
				}
				client, err := azblob.NewClientWithSharedKeyCredential(s.url(rig.BlobHost, "blob"), key, &azblob.ClientOptions{ClientOptions: s.options})
				if err != nil {
					t.Fatal(err)
				}
				blobs(t, client, "keyed"+string(rune('a'+i)))
			})
		}
	}
}

func blobs(t *testing.T, client *azblob.Client, container string) {
	t.Helper()
	ctx := t.Context()
	content := make([]byte, 5<<20+1)
	_, _ = rand.Read(content) // never fails
	if _, err := client.CreateContainer(ctx, container, nil); err != nil {
		t.Fatal(err)
	}
	names := []string{"a b%c.bin", "dir/deep.bin", "z.bin"}
	for _, name := range names {
		upload := &azblob.UploadBufferOptions{BlockSize: 1 << 20, Concurrency: 4}
		if _, err := client.UploadBuffer(ctx, container, name, content, upload); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(content))
		n, err := client.DownloadBuffer(ctx, container, name, got, &azblob.DownloadBufferOptions{BlockSize: 1 << 20, Concurrency: 4})
		if err != nil || n != int64(len(content)) || !bytes.Equal(got, content) {
			t.Fatalf("%s came back changed, %d bytes: %v", name, n, err)
		}
	}
	var listed []string
	for pages := client.NewListBlobsFlatPager(container, &azblob.ListBlobsFlatOptions{MaxResults: to.Ptr[int32](2)}); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			listed = append(listed, *item.Name)
		}
	}
	if !slices.Equal(listed, names) {
		t.Errorf("listed were %q, want %q", listed, names)
	}
	if _, err := client.DeleteBlob(ctx, container, names[0], nil); err != nil {
		t.Error(err)
	}
}

// A client that holds a shared access signature keeps its own credential: the
// machine's token is not put in its place, nor asked for.
func TestSharedAccessSignatureStaysTheCallers(t *testing.T) {
	d, cloud := startForCloud(t)
	cloud.Blobs.SetBlob(rig.BlobHost, "own", "blob", "signed for")
	cloud.Blobs.AllowSAS("c2ln%2Fb%2Bw%3D")
	for _, s := range steerings(t, d) {
		t.Run(s.name, func(t *testing.T) {
			url := s.url(rig.BlobHost, "blob") + "/own/blob?sv=2024-11-04&sp=r&se=2099-01-01T00%3A00%3A00Z&sr=b&sig=c2ln%2Fb%2Bw%3D"
			client, err := blockblob.NewClientWithNoCredential(url, &blockblob.ClientOptions{ClientOptions: s.options})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("signed for"))
			if _, err := client.DownloadBuffer(t.Context(), got, nil); err != nil || string(got) != "signed for" {
				t.Errorf("got %q: %v", got, err)
			}
		})
	}
	if n := len(d.IMDS.Minted()); n != 0 {
		t.Errorf("%d tokens were asked for", n)
	}
}

// azqueue without a credential sends and receives.
func TestQueues(t *testing.T) {
	d := startForAzurite(t)
	for i, s := range steerings(t, d) {
		t.Run(s.name, func(t *testing.T) { queue(t, s.url(rig.QueueHost, "queue"), s.options, "queue"+string(rune('a'+i))) })
	}
}

func queue(t *testing.T, url string, options azcore.ClientOptions, name string) {
	t.Helper()
	ctx := t.Context()
	client, err := azqueue.NewServiceClientWithNoCredential(url, &azqueue.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateQueue(ctx, name, nil); err != nil {
		t.Fatal(err)
	}
	q := client.NewQueueClient(name)
	if _, err := q.EnqueueMessage(ctx, "hello from azqueue", nil); err != nil {
		t.Fatal(err)
	}
	got, err := q.DequeueMessage(ctx, nil)
	if err != nil || len(got.Messages) != 1 || *got.Messages[0].MessageText != "hello from azqueue" {
		t.Fatalf("received %v: %v", got.Messages, err)
	}
	if _, err := q.DeleteMessage(ctx, *got.Messages[0].MessageID, *got.Messages[0].PopReceipt, nil); err != nil {
		t.Error(err)
	}
}
