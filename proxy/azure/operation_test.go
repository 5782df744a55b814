package azure

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// asks makes the call of "PUT https://host/path?query", with the fields that
// follow in lines of their own.
func asks(t testing.TB, text string) (*Service, *Call) {
	t.Helper()
	line, fields, _ := strings.Cut(text, "\n")
	method, url, _ := strings.Cut(line, " ")
	host, target, ok := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	if !ok {
		t.Fatalf("%q has no path", text)
	}
	c := callTo(method, host, "/"+target)
	header := http.Header{}
	for field := range strings.Lines(fields) {
		name, value, _ := strings.Cut(strings.TrimSpace(field), ": ")
		header.Add(name, value)
	}
	c.Header = Header(header)
	s, ok := mustCloud(t, "public").ServiceOf(host)
	if !ok {
		t.Fatalf("%s belongs to no service", host)
	}
	return s, c
}

// Requests as the SDKs, azcopy, Hadoop's ABFS driver and az write them.
func TestOperationOf(t *testing.T) {
	const (
		vault = "https://payroll.vault.azure.net"
		hsm   = "https://hsm.managedhsm.azure.net"
		blob  = "https://acct.blob.core.windows.net"
		dfs   = "https://acct.dfs.core.windows.net"
		file  = "https://acct.file.core.windows.net"
		queue = "https://acct.queue.core.windows.net"
		table = "https://acct.table.core.windows.net"
		arm   = "https://management.azure.com"
		group = arm + "/subscriptions/0/resourceGroups/g"
	)
	for request, want := range map[string]string{
		"GET " + vault + "/secrets/db?api-version=7.4":                         "keyvault.secret.get",
		"GET " + vault + "//secrets/db/?api-version=7.4":                       "keyvault.secret.get",
		"GET " + vault + "/secrets/db/0123456789abcdef?api-version=7.4":        "keyvault.secret.get",
		"GET " + vault + "/Secrets/DB":                                         "keyvault.secret.get",
		"GET " + vault + "/secrets?maxresults=25":                              "keyvault.secret.list",
		"GET " + vault + "/secrets/db/versions":                                "keyvault.secret.listversions",
		"PUT " + vault + "/secrets/db":                                         "keyvault.secret.set",
		"PATCH " + vault + "/secrets/db/":                                      "keyvault.secret.update",
		"DELETE " + vault + "/secrets/db":                                      "keyvault.secret.delete",
		"POST " + vault + "/secrets/db/backup":                                 "keyvault.secret.backup!",
		"POST " + vault + "/secrets/restore":                                   "keyvault.secret.restore",
		"GET " + vault + "/secrets/restore":                                    "keyvault.secret.get",
		"GET " + vault + "/deletedsecrets/db":                                  "keyvault.secret.getdeleted",
		"DELETE " + vault + "/deletedsecrets/db":                               "keyvault.secret.purge",
		"POST " + vault + "/deletedsecrets/db/recover":                         "keyvault.secret.recover",
		"POST " + vault + "/keys/k/create":                                     "keyvault.key.create",
		"POST " + vault + "/keys/k/1/sign":                                     "keyvault.key.sign",
		"POST " + vault + "/keys/k//decrypt":                                   "keyvault.key.decrypt",
		"POST " + vault + "/keys/k/1/unwrapkey":                                "keyvault.key.unwrapkey",
		"POST " + vault + "/keys/k/1/release":                                  "keyvault.key.release!",
		"POST " + vault + "/keys/k/rotate":                                     "keyvault.key.rotate",
		"PUT " + vault + "/keys/k/rotationpolicy":                              "keyvault.key.updaterotationpolicy",
		"PUT " + vault + "/keys/k":                                             "keyvault.key.import",
		"GET " + vault + "/certificates/contacts":                              "keyvault.certificate.getcontacts",
		"GET " + vault + "/certificates/issuers/digicert":                      "keyvault.certificate.getissuer",
		"POST " + vault + "/certificates/c/pending/merge":                      "keyvault.certificate.merge",
		"GET " + vault + "/certificates/c/policy":                              "keyvault.certificate.getpolicy",
		"POST " + vault + "/certificates/c/backup":                             "keyvault.certificate.backup!",
		"POST " + vault + "/storage/s/regeneratekey":                           "keyvault.storage.regeneratekey!",
		"PUT " + vault + "/storage/s/sas/d":                                    "keyvault.sasdefinition.set!",
		"HEAD " + vault + "/secrets/db":                                        "keyvault.unknown",
		"GET " + vault + "/":                                                   "keyvault.unknown",
		"GET " + vault + "/settings":                                           "keyvault.unknown",
		"GET " + vault + "/secrets/db/1/2/3/4/5":                               "keyvault.unknown",
		"GET " + hsm + "/keys/k":                                               "managedhsm.key.get",
		"GET " + hsm + "/settings":                                             "managedhsm.setting.list",
		"POST " + hsm + "/securitydomain/download":                             "managedhsm.securitydomain.download!",
		"POST " + hsm + "/backup":                                              "managedhsm.backup.start!",
		"PUT " + hsm + "//providers/Microsoft.Authorization/roleAssignments/x": "managedhsm.roleassignment.write",
		"GET " + hsm + "/secrets/db":                                           "managedhsm.unknown",

		"GET " + blob + "/?comp=list":                                             "storage.container.list",
		"GET " + blob + "/c?restype=container&comp=list&prefix=a%2Fb":             "storage.blob.list",
		"GET " + blob + "/c/?restype=container&comp=list":                         "storage.blob.list",
		"PUT " + blob + "/c?restype=container":                                    "storage.container.create",
		"HEAD " + blob + "/c?restype=container":                                   "storage.container.getproperties",
		"DELETE " + blob + "/c?restype=container":                                 "storage.container.delete",
		"GET " + blob + "/c/dir%2Fb?timeout=30":                                   "storage.blob.get",
		"GET " + blob + "/c/a/b/c?snapshot=2011-03-09T01:42:34.9360000Z":          "storage.blob.get",
		"GET " + blob + "/b":                                                      "storage.blob.get",
		"HEAD " + blob + "/c/b":                                                   "storage.blob.getproperties",
		"PUT " + blob + "/c/b\nx-ms-blob-type: BlockBlob":                         "storage.blob.put",
		"PUT " + blob + "/c/b\nx-ms-copy-source: https://x/y":                     "storage.blob.copy",
		"PUT " + blob + "/c/b?comp=block&blockid=QUE%3D":                          "storage.blob.putblock",
		"PUT " + blob + "/c/b?comp=block&blockid=QUE%3D\nx-ms-copy-source: https": "storage.blob.putblockfromurl",
		"PUT " + blob + "/c/b?comp=blocklist":                                     "storage.blob.putblocklist",
		"PUT " + blob + "/c/b?comp=page":                                          "storage.blob.putpage",
		"PUT " + blob + "/c/b?comp=immutabilityPolicies":                          "storage.blob.setimmutabilitypolicy",
		"POST " + blob + "/c/b?comp=query":                                        "storage.blob.query",
		"DELETE " + blob + "/c/b?deletetype=permanent":                            "storage.blob.delete",
		"POST " + blob + "/?restype=service&comp=userdelegationkey":               "storage.account.userdelegationkey!",
		"GET " + blob + "/c/b?restype=account&comp=properties":                    "storage.account.getinformation",
		"POST " + blob + "/?comp=batch":                                           "storage.blob.batch",
		"POST " + blob + "/c?restype=container&comp=batch":                        "storage.blob.batch",
		"OPTIONS " + blob + "/c/b":                                                "storage.preflight",
		"GET https://acct-secondary.blob.core.windows.net/c/b":                    "storage.blob.get",
		"GET https://acct.z01.blob.storage.azure.net/c/b":                         "storage.blob.get",
		"GET " + blob + "/":                                                       "storage.unknown",
		"POST " + blob + "/c/b":                                                   "storage.unknown",
		"PUT " + blob + "/c/b?comp=whatever":                                      "storage.unknown",
		"GET " + blob + "/c?comp=list":                                            "storage.unknown",

		"GET " + dfs + "/?resource=account":                                   "storage.dfs.filesystem.list",
		"GET " + dfs + "/fs?resource=filesystem&recursive=true":               "storage.dfs.path.list",
		"PUT " + dfs + "/fs/p?resource=file":                                  "storage.dfs.path.create",
		"PUT " + dfs + "/fs/p?mode=legacy\nx-ms-rename-source: /fs/q":         "storage.dfs.path.rename",
		"PATCH " + dfs + "/fs/p?action=append&position=0":                     "storage.dfs.path.append",
		"PUT " + dfs + "/fs/p?action=flush\nX-HTTP-Method-Override: PATCH":    "storage.dfs.path.flush",
		"PATCH " + dfs + "/fs/?action=setAccessControl":                       "storage.dfs.path.setacl",
		"PATCH " + dfs + "/fs/p?action=setAccessControlRecursive&mode=set":    "storage.dfs.path.setaclrecursive",
		"HEAD " + dfs + "/fs/p?action=getAccessControl&upn=false":             "storage.dfs.path.getacl",
		"HEAD " + dfs + "/fs/p":                                               "storage.dfs.path.getproperties",
		"GET " + dfs + "/fs/p":                                                "storage.dfs.path.read",
		"DELETE " + dfs + "/fs/p?recursive=true":                              "storage.dfs.path.delete",
		"DELETE " + dfs + "/fs?resource=filesystem":                           "storage.dfs.filesystem.delete",
		"POST " + dfs + "/fs/p\nx-ms-lease-action: acquire":                   "storage.dfs.path.lease",
		"DELETE " + dfs + "/fs":                                               "storage.unknown",
		"PUT " + dfs + "/fs/p":                                                "storage.unknown",
		"PUT " + dfs + "/fs/p?action=flush":                                   "storage.unknown",
		"PUT " + dfs + "/fs/p?resource=file\nx-ms-rename-source: /fs/q":       "storage.unknown",
		"PUT " + file + "/s?restype=share":                                    "storage.file.share.create",
		"GET " + file + "/s?restype=directory&comp=list":                      "storage.file.directory.list",
		"PUT " + file + "/s/d?restype=directory":                              "storage.file.directory.create",
		"PUT " + file + "/s/d/f\nx-ms-type: file":                             "storage.file.create",
		"PUT " + file + "/s/d/f?comp=range":                                   "storage.file.putrange",
		"GET " + file + "/s/d/f":                                              "storage.file.get",
		"PUT " + file + "/s/g?comp=rename\nx-ms-file-rename-source: x":        "storage.file.rename",
		"PUT " + file + "/s/g?restype=symboliclink":                           "storage.file.createsymboliclink",
		"GET " + file + "/s":                                                  "storage.unknown",
		"GET " + queue + "/?comp=list":                                        "storage.queue.list",
		"PUT " + queue + "/q":                                                 "storage.queue.create",
		"POST " + queue + "/q/messages?visibilitytimeout=0":                   "storage.queue.message.put",
		"GET " + queue + "/q/messages?numofmessages=32":                       "storage.queue.message.get",
		"GET " + queue + "/q/messages?peekonly=true":                          "storage.queue.message.peek",
		"GET " + queue + "/q/messages?peekonly=False":                         "storage.queue.message.get",
		"DELETE " + queue + "/q/messages":                                     "storage.queue.message.clear",
		"DELETE " + queue + "/q/messages/1?popreceipt=AA%3D":                  "storage.queue.message.delete",
		"PUT " + queue + "/q/messages/1?popreceipt=AA%3D&visibilitytimeout=1": "storage.queue.message.update",
		"DELETE " + queue + "/q":                                              "storage.queue.delete",
		"GET " + queue + "/q/messages?peekonly=maybe":                         "storage.unknown",
		"GET " + table + "/Tables":                                            "storage.table.list",
		"POST " + table + "/Tables":                                           "storage.table.create",
		"DELETE " + table + "/Tables('t')":                                    "storage.table.delete",
		"DELETE " + table + "/Tables%28%27t%27%29":                            "storage.table.delete",
		"GET " + table + "/t()?$filter=PartitionKey%20eq%20'a'":               "storage.table.entity.query",
		"GET " + table + "/t(PartitionKey='a%2Fb',RowKey='c')":                "storage.table.entity.get",
		"POST " + table + "/t":                                                "storage.table.entity.insert",
		"MERGE " + table + "/t(PartitionKey='a',RowKey='b')":                  "storage.table.entity.merge",
		"PUT " + table + "/t(PartitionKey='a',RowKey='b')\nIf-Match: *":       "storage.table.entity.update",
		"PUT " + table + "/t?comp=acl":                                        "storage.table.setacl",
		"POST " + table + "/$batch":                                           "storage.table.batch",
		"DELETE " + table + "/t":                                              "storage.unknown",
		"GET " + table + "/t(PartitionKey='a'":                                "storage.unknown",

		"PUT " + arm + "//subscriptions/0/providers/Microsoft.Authorization/roleAssignments/x": "arm.roleassignment.write",
		"PUT " + arm + "/subscriptions/0/resourceGroups/gr%C3%BCn":                             "arm.resourcegroup.write",
		"GET " + arm + "/subscriptions?api-version=2022-12-01":                                 "arm.subscription.read",
		"GET " + group + "?api-version=2021-04-01":                                             "arm.resourcegroup.read",
		"DELETE " + group:                   "arm.resourcegroup.delete",
		"POST " + group + "/exportTemplate": "arm.resourcegroup.exporttemplate",
		"GET " + group + "/providers/Microsoft.Compute/virtualMachines":                                                        "arm.vm.read",
		"PUT " + group + "/providers/Microsoft.Compute/virtualMachines/vm":                                                     "arm.vm.write",
		"POST " + group + "/providers/Microsoft.Compute/virtualMachines/vm/restart":                                            "arm.vm.restart",
		"POST " + group + "/providers/microsoft.compute/virtualmachines/vm/powerOff?skipShutdown=no":                           "arm.vm.poweroff",
		"POST " + group + "/providers/Microsoft.Compute/virtualMachines/vm/runCommand":                                         "arm.vm.runcommand",
		"PUT " + group + "/providers/Microsoft.Compute/virtualMachines/vm/extensions/e":                                        "arm.vmextension.write",
		"POST " + group + "/providers/Microsoft.Storage/storageAccounts/a/listKeys":                                            "arm.storageaccount.listkeys!",
		"POST " + group + "/providers/Microsoft.Storage/storageAccounts/a/regenerateKey":                                       "arm.storageaccount.regeneratekey!",
		"POST " + group + "/providers/Microsoft.Storage/storageAccounts/a/ListAccountSas":                                      "arm.storageaccount.listaccountsas!",
		"GET " + group + "/providers/Microsoft.Storage/storageAccounts/a":                                                      "arm.storageaccount.read",
		"POST " + arm + "/subscriptions/0/providers/Microsoft.Storage/checkNameAvailability":                                   "arm.action",
		"POST " + group + "/providers/Microsoft.Web/sites/s/config/appsettings/list":                                           "arm.webapp.config.list!",
		"POST " + group + "/providers/Microsoft.Web/sites/s/publishxml":                                                        "arm.webapp.publishxml!",
		"GET " + group + "/providers/Microsoft.Web/sites/s/functions/admin/token":                                              "arm.webapp.functiontoken!",
		"GET " + group + "/providers/Microsoft.Web/sites/s/functions%2Fadmin%2Ftoken/":                                         "arm.webapp.functiontoken!",
		"GET " + group + "/providers/Microsoft.Network/connections/c/sharedkey":                                                "arm.vpnsharedkey.read!",
		"GET " + group + "/providers/Microsoft.DocumentDB/databaseAccounts/d/readonlykeys":                                     "arm.cosmosdbkey.read!",
		"GET " + group + "/providers/Microsoft.Search/searchServices/s/listQueryKeys":                                          "arm.credential!",
		"GET " + group + "/providers/Microsoft.Example/things/listing":                                                         "arm.read",
		"GET " + group + "/providers/Microsoft.Example/things/a%2Fb":                                                           "arm.read",
		"POST " + group + "/providers/Microsoft.Example/things/t/listSecrets":                                                  "arm.credential!",
		"POST " + group + "/providers/Microsoft.Example/things/t/createQueryKey/new":                                           "arm.credential!",
		"POST " + group + "/providers/Microsoft.Example/things/t/shake":                                                        "arm.action",
		"PATCH " + group + "/providers/Microsoft.Example/things/t":                                                             "arm.write",
		"POST " + arm + "/providers/Microsoft.ResourceGraph/resources":                                                         "arm.resourcegraph.query",
		"GET " + arm + "/subscriptions/0/providers/Microsoft.ResourceGraph":                                                    "arm.read",
		"PUT " + group + "/providers/Microsoft.Compute/virtualMachines/vm/providers/Microsoft.Authorization/roleAssignments/r": "arm.roleassignment.write",
		"PUT " + group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i/federatedIdentityCredentials/f":        "arm.federatedcredential.write!",
		"PUT " + group + "/providers/Microsoft.Resources/deployments/d":                                                        "arm.deployment.write",
		"POST " + arm + "/batch?api-version=2020-06-01":                                                                        "arm.batch",
		"GET https://westus.management.azure.com/subscriptions":                                                                "arm.subscription.read",
		"OPTIONS " + arm + "/subscriptions":                                                                                    "arm.unknown",
		"PUT " + group + "/providers/Microsoft.Example/things/a%2Fb":                                                           "arm.unknown",

		"GET https://graph.microsoft.com/v1.0/me":        "api.get",
		"PROPFIND https://graph.microsoft.com/v1.0/me":   "api.other",
		"DELETE https://graph.microsoft.com/v1.0/groups": "api.delete",
	} {
		s, c := asks(t, request)
		want, mints := strings.CutSuffix(want, "!")
		op := s.OperationOf(c)
		if op.Name != want || op.Mints != mints || op.Understood() == strings.HasSuffix(want, ".unknown") {
			t.Errorf("%s: %+v, want %s, mints %v", request, op, want, mints)
		}
	}
}

// Attacks that let a call seem another one than the service makes of it. The
// operation must be the true one, or not understood.
func TestDisguisedCallsAreSeenThrough(t *testing.T) {
	const blob, dfs = "https://acct.blob.core.windows.net", "https://acct.dfs.core.windows.net"
	const queue, vault = "https://acct.queue.core.windows.net", "https://payroll.vault.azure.net"
	for name, attack := range map[string]struct{ request, want string }{
		"method override on a read":           {"GET " + vault + "/secrets/db\nX-HTTP-Method-Override: DELETE", "keyvault.unknown"},
		"its other spelling":                  {"GET " + vault + "/secrets/db\nX-HTTP-Method: DELETE", "keyvault.unknown"},
		"in the query":                        {"GET " + vault + "/secrets/db?_method=DELETE", "keyvault.unknown"},
		"in the query, escaped":               {"GET " + vault + "/secrets/db?%5Fmethod=DELETE", "keyvault.unknown"},
		"for a service of its own":            {"POST https://graph.microsoft.com/v1.0/me\nX-HTTP-Method-Override: DELETE", "api.unknown"},
		"override of blobs":                   {"PUT " + blob + "/c/b\nX-HTTP-Method-Override: PATCH", "storage.unknown"},
		"override to another method":          {"PUT " + dfs + "/fs/p?resource=file\nX-HTTP-Method-Override: DELETE", "storage.unknown"},
		"override twice":                      {"PUT " + dfs + "/fs/p?action=flush\nX-HTTP-Method-Override: PATCH\nX-HTTP-Method-Override: DELETE", "storage.unknown"},
		"override that Connection takes away": {"PUT " + dfs + "/fs/p?action=flush\nX-HTTP-Method-Override: PATCH\nConnection: close, x-http-method-override", "storage.unknown"},
		"path override":                       {"GET " + vault + "/secrets/db\nX-Original-URL: /keys/k/backup", "keyvault.unknown"},
		"path override of storage":            {"GET " + blob + "/c/b\nX-Rewrite-Url: /c?restype=container", "storage.unknown"},
		"comp twice":                          {"GET " + blob + "/c?restype=container&comp=list&comp=acl", "storage.unknown"},
		"comp twice, once escaped":            {"GET " + blob + "/c?restype=container&comp=list&%63omp=acl", "storage.unknown"},
		"comp twice, once in capitals":        {"GET " + blob + "/c?restype=container&COMP=acl&comp=list", "storage.unknown"},
		"comp escaped":                        {"PUT " + blob + "/c/b?%63omp=le%61se", "storage.blob.lease"},
		"comp in capitals":                    {"PUT " + blob + "/c/b?COMP=LEASE", "storage.blob.lease"},
		"comp without a value":                {"PUT " + blob + "/c/b?comp=", "storage.unknown"},
		"comp without anything":               {"PUT " + blob + "/c/b?comp", "storage.unknown"},
		"Tables in Unicode":                   {"DELETE https://acct.table.core.windows.net/Table%C5%BF('x')", "storage.unknown"},
		"deployments in Unicode":              {"PUT https://management.azure.com/subscriptions/0/providers/Microsoft.Resources/deployment%C5%BF/d", "arm.unknown"},
		"a provider in Unicode":               {"PUT https://management.azure.com/subscriptions/0/providers/Micro%C5%BFoft.Resources/deployments/d", "arm.unknown"},
		"an action in Unicode":                {"POST https://management.azure.com/subscriptions/0/providers/Microsoft.Example/things/t/li%C5%BFt", "arm.unknown"},
		"issuers in Unicode":                  {"GET https://payroll.vault.azure.net/certificates/i%C5%BFsuers/x", "keyvault.unknown"},
		"comp behind a semicolon":             {"GET " + blob + "/c/b?x=1;comp=acl", "storage.unknown"},
		"comp behind a question mark":         {"GET " + blob + "/c/b??comp=acl", "storage.unknown"},
		"comp with a blank":                   {"GET " + blob + "/c/b?comp%20=acl", "storage.unknown"},
		"comp with a plus":                    {"GET " + blob + "/c/b?+comp=acl", "storage.unknown"},
		"comp with a NUL":                     {"GET " + blob + "/c/b?comp%00=acl", "storage.unknown"},
		"comp escaped twice":                  {"GET " + blob + "/c/b?%2563omp=acl", "storage.unknown"},
		"restype in Unicode":                  {"DELETE " + blob + "/c?re%C5%BFtype=container", "storage.unknown"},
		"a parameter that is the blob's":      {"GET " + blob + "/c/b?x-custom.name_1=%3B&$y=z", "storage.blob.get"},
		"restype for another path":            {"GET " + blob + "/c/b?restype=container&comp=list", "storage.unknown"},
		"service's restype for a container":   {"PUT " + blob + "/c?restype=service&comp=properties", "storage.unknown"},
		"another API's parameter":             {"PUT " + blob + "/c/b?resource=directory", "storage.unknown"},
		"another API's action":                {"PUT " + dfs + "/fs/p?resource=file&comp=lease", "storage.unknown"},
		"action twice":                        {"PATCH " + dfs + "/fs/p?action=append&action=setAccessControl", "storage.unknown"},
		"a source that Connection takes away": {"PUT " + blob + "/c/b\nx-ms-copy-source: https://x\nConnection: X-Ms-Copy-Source", "storage.unknown"},
		"a source where none belongs":         {"PUT " + blob + "/c/b?comp=metadata\nx-ms-copy-source: https://x", "storage.unknown"},
		"another API's source":                {"PUT " + blob + "/c/b\nx-ms-rename-source: /c/x", "storage.unknown"},
		"userdelegationkey, escaped":          {"POST " + blob + "/?restype=service&comp=userdelegation%6bey", "storage.account.userdelegationkey"},
		"userdelegationkey of another API":    {"POST " + queue + "/?restype=service&comp=userdelegationkey", "storage.account.userdelegationkey"},
		"a message that is the queue":         {"DELETE " + queue + "/q/messages/..", "storage.unknown"},
		"the queue, escaped":                  {"DELETE " + queue + "/q/messages/%2e%2E/", "storage.unknown"},
		"a message in another segment":        {"DELETE " + queue + "/q%2Fmessages/1", "storage.unknown"},
		"a container in dots":                 {"DELETE " + blob + "/c/.?restype=container", "storage.unknown"},
		"an empty container":                  {"GET " + blob + "//c?restype=container&comp=list", "storage.unknown"},
		"a secret that is a key's backup":     {"POST " + vault + "/secrets/restore/../../keys/k/backup", "keyvault.unknown"},
		"the same, escaped":                   {"POST " + vault + "/secrets/x%2F..%2F..%2Fkeys%2Fk/backup", "keyvault.unknown"},
		"overlong UTF-8":                      {"POST " + vault + "/secrets/x%c0%afkeys/backup", "keyvault.unknown"},
		"a verb escaped":                      {"POST " + vault + "/keys/k/b%61ckup", "keyvault.key.backup"},
		"a parameter cut off":                 {"GET " + vault + "/secrets/db;/backup", "keyvault.unknown"},
		"an action escaped":                   {"POST https://management.azure.com/subscriptions/0/providers/Microsoft.Storage/storageAccounts/a/l%69stKeys", "arm.storageaccount.listkeys"},
		"an action behind a slash":            {"POST https://management.azure.com/subscriptions/0/providers/Microsoft.Storage/storageAccounts/a/listKeys/", "arm.storageaccount.listkeys"},
		"an action in one segment":            {"POST https://management.azure.com/subscriptions/0/providers/Microsoft.Storage/storageAccounts/a%2FlistKeys", "arm.unknown"},
		"a provider escaped":                  {"PUT https://management.azure.com/subscriptions/0/%70roviders/Microsoft.Resources/deployments/d", "arm.deployment.write"},
		"keys by a GET with an escaped slash": {"GET https://management.azure.com/x/a%2Fb/listKeys", "arm.unknown"},
		"override on Azure Resource Manager":  {"GET https://management.azure.com/subscriptions\nX-HTTP-Method-Override: DELETE", "arm.unknown"},
		"a resource with the name providers":  {"POST https://management.azure.com/subscriptions/0/providers/Microsoft.Storage/storageAccounts/providers/listKeys", "arm.storageaccount.listkeys"},
		"a group with the name providers":     {"POST https://management.azure.com/subscriptions/0/resourceGroups/providers/providers/Microsoft.Compute/virtualMachines/providers/runCommand", "arm.vm.runcommand"},
		"an empty name":                       {"POST https://management.azure.com/subscriptions/0/providers/Microsoft.Compute//virtualMachines/vm/restart", "arm.unknown"},
		"keys behind an escaped slash":        {"GET https://management.azure.com/subscriptions/0/providers/Microsoft.Search/searchServices/s%2FlistQueryKeys", "arm.unknown"},
		"a deployment without a provider":     {"PUT https://management.azure.com/subscriptions/0/resourcegroups/g/deployments/d", "arm.deployment.write"},
		"a path without a slash":              {"OPTIONS " + vault + "/secrets/db", "keyvault.unknown"},
	} {
		s, c := asks(t, attack.request)
		if op := s.OperationOf(c); op.Name != attack.want {
			t.Errorf("%s: %+v, want %s", name, op, attack.want)
		}
	}
}

// Each request of the tables is found by its own operation, so that no row is
// hidden behind another one.
func TestEachRowIsReached(t *testing.T) {
	cloud := mustCloud(t, "public")
	reach := func(s *Service, host, request, want string) {
		methods, rest, _ := strings.Cut(request, " ")
		target, field, _ := strings.Cut(rest, " + ")
		target = strings.NewReplacer("[", "", "]", "", "(NAME)", "('x')", "(KEYS)", "(PartitionKey='x',RowKey='y')").Replace(target)
		for method := range strings.SplitSeq(methods, "|") {
			c := callTo(method, host, target)
			if field != "" {
				c.Header = Header{http.CanonicalHeaderKey(field): {"x"}}
			}
			if op := s.OperationOf(c); op.Name != want {
				t.Errorf("%s on %s is %s, want %s", request, host, op.Name, want)
			}
		}
	}
	for _, row := range vaultRows() {
		for service, where := range map[string]where{"keyvault": inVault, "managedhsm": inHSM} {
			if s, _ := cloud.Service(service); row.where&where != 0 {
				reach(s, "x.example", row.request, service+"."+row.name)
			}
		}
	}
	storage, _ := cloud.Service("storage")
	for _, api := range storageAPIs() {
		for _, row := range append(storageRows(api), commonRows()...) {
			reach(storage, "acct."+api.String()+".core.windows.net", row.request, row.name)
		}
	}
	arm, _ := cloud.Service("arm")
	for _, typ := range armTypes() {
		at := "/subscriptions/0/providers/" + typ.provider
		if typ.types != "" {
			at += "/" + strings.ReplaceAll(typ.types, "/", "/n/") + "/n"
			for request, verb := range map[string]string{"GET|HEAD": "read", "PUT|PATCH": "write", "DELETE": "delete"} {
				reach(arm, "x", request+" "+at, "arm."+typ.name+"."+verb)
			}
			reach(arm, "x", "GET "+strings.TrimSuffix(at, "/n"), "arm."+typ.name+".read")
		}
		for action := range strings.FieldsSeq(typ.actions) {
			name, segment, differs := strings.Cut(strings.TrimSuffix(action, "!"), "=")
			if !differs {
				segment = name
			}
			reach(arm, "x", "POST "+at+"/"+segment, "arm."+typ.name+"."+name)
		}
	}
}

func TestOperationsAreAClosedList(t *testing.T) {
	seen := make(map[string]int)
	for i, info := range Operations() {
		seen[info.Name]++
		if strings.Trim(info.Name, "abcdefghijklmnopqrstuvwxyz.") != "" || strings.Count(info.Name, ".") < 1 || info.Request == "" {
			t.Errorf("operation %d: %+v", i, info)
		}
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
	if len(seen) < 300 || len(seen) > 700 {
		t.Errorf("%d operations", len(seen))
	}
}

// What gives a credential is written down twice, so that a row that is changed
// or added does not let one slip.
func TestOperationsThatMintAreMarked(t *testing.T) {
	want := []string{
		"keyvault.certificate.backup", "keyvault.key.backup", "keyvault.key.release", "keyvault.sasdefinition.set", "keyvault.sasdefinition.update",
		"keyvault.secret.backup", "keyvault.storage.backup", "keyvault.storage.regeneratekey", "managedhsm.backup.start", "managedhsm.key.backup",
		"managedhsm.key.release", "managedhsm.securitydomain.download", "storage.account.userdelegationkey", "arm.aks.listclusteradmincredential",
		"arm.aks.listclustermonitoringusercredential", "arm.aks.listclusterusercredential", "arm.cognitiveaccount.listkeys",
		"arm.cognitiveaccount.regeneratekey", "arm.containerapp.getauthtoken", "arm.containerapp.listsecrets", "arm.containerregistry.generatecredentials",
		"arm.containerregistry.listbuildsourceuploadurl", "arm.containerregistry.listcredentials", "arm.containerregistry.regeneratecredential",
		"arm.cosmosdb.listconnectionstrings", "arm.cosmosdb.listkeys", "arm.cosmosdb.readonlykeys", "arm.cosmosdb.regeneratekey", "arm.cosmosdbkey.read",
		"arm.credential", "arm.disk.begingetaccess", "arm.disksnapshot.begingetaccess", "arm.eventhubrule.listkeys", "arm.eventhubrule.regeneratekeys",
		"arm.federatedcredential.write", "arm.loganalytics.regeneratesharedkey", "arm.loganalytics.sharedkeys", "arm.redis.listkeys",
		"arm.redis.regeneratekey", "arm.searchservice.listadminkeys", "arm.searchservice.listquerykeys", "arm.searchservice.regenerateadminkey",
		"arm.servicebusrule.listkeys", "arm.servicebusrule.regeneratekeys", "arm.sshkey.generatekeypair", "arm.storageaccount.listaccountsas",
		"arm.storageaccount.listkeys", "arm.storageaccount.listservicesas", "arm.storageaccount.regeneratekey", "arm.storageuser.listkeys",
		"arm.storageuser.regeneratepassword", "arm.vm.retrievebootdiagnosticsdata", "arm.vmssvm.retrievebootdiagnosticsdata", "arm.vpnsharedkey.read",
		"arm.vpnsharedkey.write", "arm.webapp.config.list", "arm.webapp.function.listkeys", "arm.webapp.function.listsecrets",
		"arm.webapp.functionkey.write", "arm.webapp.functiontoken", "arm.webapp.host.listkeys", "arm.webapp.host.listsyncstatus",
		"arm.webapp.listsyncfunctiontriggerstatus", "arm.webapp.newpassword", "arm.webapp.publishxml", "arm.webapp.slot.listsyncfunctiontriggerstatus",
		"arm.webapp.slot.newpassword", "arm.webapp.slot.publishxml", "arm.webapp.slotconfig.list",
	}
	var have []string
	for _, info := range Operations() {
		if info.Mints {
			have = append(have, info.Name)
		}
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			t.Errorf("%s does not mint", name)
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			t.Errorf("%s mints", name)
		}
	}
}
