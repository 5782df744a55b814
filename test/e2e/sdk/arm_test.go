package sdk

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// armresources, which cannot be built without a credential and brings none to a
// plain-http URL, follows pages and long-running operations with a dummy.
func TestResourceManager(t *testing.T) {
	d, _ := startForCloud(t)
	for _, s := range steerings(t, d)[:2] {
		t.Run(s.name, func(t *testing.T) {
			listCreateAndDelete(t, dummy{}, &arm.ClientOptions{ClientOptions: s.options})
		})
	}
}

// Lists and operations go on at a regional host, as Resource Manager's do. By
// base URL the SDK, which follows every link as it comes, gets there through the
// base URL alone.
func TestResourceManagerOfARegion(t *testing.T) {
	const regional = "westeurope." + azuretest.ARMHost
	imds := rig.StartIMDS(t, imdstest.Options{})
	cloud := imds.StartCloud(t, azuretest.Options{Hosts: []string{azuretest.ARMHost, regional}, ARM: azuretest.ARMOptions{Regional: regional}})
	d := env.Start(t, rig.Settings{IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), Routes: "\n  - {service: arm, gateway: arm}\n"})
	for _, s := range steerings(t, d)[1:] {
		t.Run(s.name, func(t *testing.T) {
			before := len(cloud.Recorder.Requests())
			options := &arm.ClientOptions{ClientOptions: s.options}
			options.Cloud = azcloud.Configuration{Services: map[azcloud.ServiceName]azcloud.ServiceConfiguration{
				azcloud.ResourceManager: {Endpoint: s.url(azuretest.ARMHost, "arm"), Audience: azuretest.ARMAudience},
			}}
			options.InsecureAllowCredentialWithHTTP = true // of the dummy, to loopback
			listCreateAndDelete(t, dummy{}, options)
			asked := map[string]int{}
			for _, r := range cloud.Recorder.Requests()[before:] {
				asked[r.Host]++
			}
			if asked[azuretest.ARMHost] == 0 || asked[regional] < 5 {
				t.Errorf("asked were %v, want the regional host for two pages and the operations", asked)
			}
		})
	}
}

func listCreateAndDelete(t *testing.T, credential azcore.TokenCredential, options *arm.ClientOptions) {
	t.Helper()
	client, err := armresources.NewResourceGroupsClient(azuretest.Subscription, credential, options)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for pages := client.NewListPager(nil); pages.More(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range page.Value {
			names = append(names, *group.Name)
		}
	}
	if want := []string{"dev", "prod", "shared", "staging", "test"}; !slices.Equal(names, want) {
		t.Errorf("the groups are %q, want %q", names, want)
	}
	createAndDelete(t, credential, options, client)
}

func createAndDelete(t *testing.T, credential azcore.TokenCredential, options *arm.ClientOptions, groups *armresources.ResourceGroupsClient) {
	t.Helper()
	ctx, often := t.Context(), &runtime.PollUntilDoneOptions{Frequency: time.Second}
	if _, err := groups.CreateOrUpdate(ctx, "made", armresources.ResourceGroup{Location: to.Ptr("westeurope")}, nil); err != nil {
		t.Fatal(err)
	}
	resources, err := armresources.NewClient(azuretest.Subscription, credential, options)
	if err != nil {
		t.Fatal(err)
	}
	id := "/subscriptions/" + azuretest.Subscription + "/resourceGroups/made/providers/Microsoft.Web/serverfarms/plan"
	creation, err := resources.BeginCreateOrUpdateByID(ctx, id, "2024-03-01", armresources.GenericResource{Location: to.Ptr("westeurope")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := creation.PollUntilDone(ctx, often); err != nil || *made.Name != "plan" {
		t.Fatalf("created was %v: %v", made.Name, err)
	}
	deletion, err := groups.BeginDelete(ctx, "made", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deletion.PollUntilDone(ctx, often); err != nil {
		t.Fatal(err)
	}
	if there, err := groups.CheckExistence(ctx, "made", nil); err != nil || there.Success {
		t.Errorf("the deleted group is still there: %v", err)
	}
}

// The SDK reads bearerd's refusals and outages as it reads Azure's.
func TestErrorsReadAsAzures(t *testing.T) {
	imds := rig.StartIMDS(t, imdstest.Options{})
	cloud := imds.StartCloud(t, azuretest.Options{})
	d := env.Start(t, rig.Settings{
		IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), IMDSMore: ", token_wait: 100ms",
		Routes: "\n  - {service: arm, methods: [GET]}\n",
	})
	s := steerings(t, d)[1]
	groups, err := armresources.NewResourceGroupsClient(azuretest.Subscription, dummy{}, &arm.ClientOptions{ClientOptions: s.options})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(err error, status int, code string) {
		t.Helper()
		var answer *azcore.ResponseError
		if !errors.As(err, &answer) || answer.StatusCode != status || answer.ErrorCode != code {
			t.Errorf("got %v, want %d %s", err, status, code)
		}
	}
	_, err = groups.CreateOrUpdate(t.Context(), "made", armresources.ResourceGroup{Location: to.Ptr("westeurope")}, nil)
	expect(err, http.StatusForbidden, "BearerdNotPermitted")
	imds.Script(imdstest.HTML().Always())
	_, err = groups.Get(t.Context(), "dev", nil)
	expect(err, http.StatusServiceUnavailable, "BearerdTokenUnavailable")
}
