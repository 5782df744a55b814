package sdk

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// azblob without a credential sets tiers and deletes in batches to the account
// and to a container, in Azurite, which authorises each part; and copies from a
// URL.
func TestBlobBatches(t *testing.T) {
	for i, s := range steerings(t, startForAzurite(t)) {
		t.Run(s.name, func(t *testing.T) {
			client, err := azblob.NewClientWithNoCredential(s.url(rig.BlobHost, "blob"), &azblob.ClientOptions{ClientOptions: s.options})
			if err != nil {
				t.Fatal(err)
			}
			batches(t, client.ServiceClient(), "batches"+string(rune('a'+i)))
		})
	}
}

func batches(t *testing.T, account *service.Client, name string) {
	t.Helper()
	ctx := t.Context()
	container := account.NewContainerClient(name)
	if _, err := container.Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "dir/b c%d", "copy"}
	for _, name := range names[:2] {
		if _, err := container.NewBlockBlobClient(name).UploadBuffer(ctx, []byte(name), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := container.NewBlobClient("copy").CopyFromURL(ctx, container.NewBlobClient(names[1]).URL(), nil); err != nil {
		t.Fatal(err)
	}
	tiers, err := account.NewBatchBuilder()
	if err != nil {
		t.Fatal(err)
	}
	for _, blobName := range names {
		if err := tiers.SetTier(name, blobName, blob.AccessTierCool, nil); err != nil {
			t.Fatal(err)
		}
	}
	set, err := account.SubmitBatch(ctx, tiers, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range set.Responses {
		if part.Error != nil {
			t.Errorf("a tier was not set: %v", part.Error)
		}
	}
	deletions, err := container.NewBatchBuilder()
	if err != nil {
		t.Fatal(err)
	}
	for _, blobName := range names {
		properties, err := container.NewBlobClient(blobName).GetProperties(ctx, nil)
		if err != nil || *properties.AccessTier != string(blob.AccessTierCool) {
			t.Fatalf("the tier of %s was not set: %v", blobName, err)
		}
		if err := deletions.Delete(blobName, nil); err != nil {
			t.Fatal(err)
		}
	}
	deleted, err := container.SubmitBatch(ctx, deletions, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range deleted.Responses {
		if part.Error != nil {
			t.Errorf("a blob was not deleted: %v", part.Error)
		}
	}
	if page, err := container.NewListBlobsFlatPager(nil).NextPage(ctx); err != nil || len(page.Segment.BlobItems) > 0 {
		t.Errorf("%d blobs are left: %v", len(page.Segment.BlobItems), err)
	}
}
