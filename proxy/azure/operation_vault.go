package azure

import "strings"

// vaultRow is one documented request of Key Vault or Managed HSM. Segments in
// capitals stand for any.
type vaultRow struct {
	where   where
	name    string
	request string
	mints   bool
}

// where says which of the two services has a request.
type where uint8

const (
	inVault where = 1 << iota
	inHSM
	inBoth = inVault | inHSM
)

// vaultRows is taken from https://learn.microsoft.com/rest/api/keyvault/. Of
// requests that one path matches, the first one counts. A backup leaves the
// vault as a whole, and any vault of the same subscription takes it back; a
// released key and a security domain leave for good.
func vaultRows() []vaultRow {
	return []vaultRow{
		// https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups
		{inVault, "secret.restore", "POST /secrets/restore", false},
		{inVault, "secret.list", "GET /secrets", false},
		{inVault, "secret.set", "PUT /secrets/NAME", false},
		{inVault, "secret.delete", "DELETE /secrets/NAME", false},
		{inVault, "secret.listversions", "GET /secrets/NAME/versions", false},
		{inVault, "secret.get", "GET /secrets/NAME", false},
		{inVault, "secret.get", "GET /secrets/NAME/VERSION", false},
		{inVault, "secret.update", "PATCH /secrets/NAME", false},
		{inVault, "secret.update", "PATCH /secrets/NAME/VERSION", false},
		{inVault, "secret.backup", "POST /secrets/NAME/backup", true},
		{inVault, "secret.listdeleted", "GET /deletedsecrets", false},
		{inVault, "secret.getdeleted", "GET /deletedsecrets/NAME", false},
		{inVault, "secret.purge", "DELETE /deletedsecrets/NAME", false},
		{inVault, "secret.recover", "POST /deletedsecrets/NAME/recover", false},

		// https://learn.microsoft.com/rest/api/keyvault/keys/operation-groups
		{inBoth, "key.restore", "POST /keys/restore", false},
		{inBoth, "key.list", "GET /keys", false},
		{inBoth, "key.create", "POST /keys/NAME/create", false},
		{inBoth, "key.import", "PUT /keys/NAME", false},
		{inBoth, "key.delete", "DELETE /keys/NAME", false},
		{inBoth, "key.listversions", "GET /keys/NAME/versions", false},
		{inBoth, "key.getrotationpolicy", "GET /keys/NAME/rotationpolicy", false},
		{inBoth, "key.updaterotationpolicy", "PUT /keys/NAME/rotationpolicy", false},
		{inBoth, "key.rotate", "POST /keys/NAME/rotate", false},
		{inBoth, "key.backup", "POST /keys/NAME/backup", true},
		{inBoth, "key.getattestation", "GET /keys/NAME/attestation", false},
		{inBoth, "key.get", "GET /keys/NAME", false},
		{inBoth, "key.get", "GET /keys/NAME/VERSION", false},
		{inBoth, "key.getattestation", "GET /keys/NAME/VERSION/attestation", false},
		{inBoth, "key.update", "PATCH /keys/NAME", false},
		{inBoth, "key.update", "PATCH /keys/NAME/VERSION", false},
		{inBoth, "key.encrypt", "POST /keys/NAME/VERSION/encrypt", false},
		{inBoth, "key.encrypt", "POST /keys/NAME/encrypt", false}, // without a version the clients leave two slashes
		{inBoth, "key.decrypt", "POST /keys/NAME/VERSION/decrypt", false},
		{inBoth, "key.decrypt", "POST /keys/NAME/decrypt", false},
		{inBoth, "key.sign", "POST /keys/NAME/VERSION/sign", false},
		{inBoth, "key.sign", "POST /keys/NAME/sign", false},
		{inBoth, "key.verify", "POST /keys/NAME/VERSION/verify", false},
		{inBoth, "key.verify", "POST /keys/NAME/verify", false},
		{inBoth, "key.wrapkey", "POST /keys/NAME/VERSION/wrapkey", false},
		{inBoth, "key.wrapkey", "POST /keys/NAME/wrapkey", false},
		{inBoth, "key.unwrapkey", "POST /keys/NAME/VERSION/unwrapkey", false},
		{inBoth, "key.unwrapkey", "POST /keys/NAME/unwrapkey", false},
		{inBoth, "key.release", "POST /keys/NAME/VERSION/release", true},
		{inBoth, "key.release", "POST /keys/NAME/release", true},
		{inBoth, "key.listdeleted", "GET /deletedkeys", false},
		{inBoth, "key.getdeleted", "GET /deletedkeys/NAME", false},
		{inBoth, "key.purge", "DELETE /deletedkeys/NAME", false},
		{inBoth, "key.recover", "POST /deletedkeys/NAME/recover", false},
		{inBoth, "randombytes.get", "POST /rng", false},

		// https://learn.microsoft.com/rest/api/keyvault/certificates/operation-groups
		{inVault, "certificate.restore", "POST /certificates/restore", false},
		{inVault, "certificate.getcontacts", "GET /certificates/contacts", false},
		{inVault, "certificate.setcontacts", "PUT /certificates/contacts", false},
		{inVault, "certificate.deletecontacts", "DELETE /certificates/contacts", false},
		{inVault, "certificate.listissuers", "GET /certificates/issuers", false},
		{inVault, "certificate.getissuer", "GET /certificates/issuers/NAME", false},
		{inVault, "certificate.setissuer", "PUT /certificates/issuers/NAME", false},
		{inVault, "certificate.updateissuer", "PATCH /certificates/issuers/NAME", false},
		{inVault, "certificate.deleteissuer", "DELETE /certificates/issuers/NAME", false},
		{inVault, "certificate.list", "GET /certificates", false},
		{inVault, "certificate.create", "POST /certificates/NAME/create", false},
		{inVault, "certificate.import", "POST /certificates/NAME/import", false},
		{inVault, "certificate.delete", "DELETE /certificates/NAME", false},
		{inVault, "certificate.listversions", "GET /certificates/NAME/versions", false},
		{inVault, "certificate.getpolicy", "GET /certificates/NAME/policy", false},
		{inVault, "certificate.updatepolicy", "PATCH /certificates/NAME/policy", false},
		{inVault, "certificate.getoperation", "GET /certificates/NAME/pending", false},
		{inVault, "certificate.updateoperation", "PATCH /certificates/NAME/pending", false},
		{inVault, "certificate.deleteoperation", "DELETE /certificates/NAME/pending", false},
		{inVault, "certificate.merge", "POST /certificates/NAME/pending/merge", false},
		{inVault, "certificate.backup", "POST /certificates/NAME/backup", true},
		{inVault, "certificate.get", "GET /certificates/NAME", false},
		{inVault, "certificate.get", "GET /certificates/NAME/VERSION", false},
		{inVault, "certificate.update", "PATCH /certificates/NAME", false},
		{inVault, "certificate.update", "PATCH /certificates/NAME/VERSION", false},
		{inVault, "certificate.listdeleted", "GET /deletedcertificates", false},
		{inVault, "certificate.getdeleted", "GET /deletedcertificates/NAME", false},
		{inVault, "certificate.purge", "DELETE /deletedcertificates/NAME", false},
		{inVault, "certificate.recover", "POST /deletedcertificates/NAME/recover", false},

		// Managed storage accounts, of API versions up to 7.3. The keys of such an
		// account, and the signatures of its definitions, are read as secrets.
		{inVault, "storage.restore", "POST /storage/restore", false},
		{inVault, "storage.list", "GET /storage", false},
		{inVault, "storage.get", "GET /storage/NAME", false},
		{inVault, "storage.set", "PUT /storage/NAME", false},
		{inVault, "storage.update", "PATCH /storage/NAME", false},
		{inVault, "storage.delete", "DELETE /storage/NAME", false},
		{inVault, "storage.backup", "POST /storage/NAME/backup", true},
		{inVault, "storage.regeneratekey", "POST /storage/NAME/regeneratekey", true},
		{inVault, "storage.listdeleted", "GET /deletedstorage", false},
		{inVault, "storage.getdeleted", "GET /deletedstorage/NAME", false},
		{inVault, "storage.purge", "DELETE /deletedstorage/NAME", false},
		{inVault, "storage.recover", "POST /deletedstorage/NAME/recover", false},
		{inVault, "sasdefinition.list", "GET /storage/NAME/sas", false},
		{inVault, "sasdefinition.get", "GET /storage/NAME/sas/DEFINITION", false},
		{inVault, "sasdefinition.set", "PUT /storage/NAME/sas/DEFINITION", true},
		{inVault, "sasdefinition.update", "PATCH /storage/NAME/sas/DEFINITION", true},
		{inVault, "sasdefinition.delete", "DELETE /storage/NAME/sas/DEFINITION", false},
		{inVault, "sasdefinition.listdeleted", "GET /deletedstorage/NAME/sas", false},
		{inVault, "sasdefinition.getdeleted", "GET /deletedstorage/NAME/sas/DEFINITION", false},
		{inVault, "sasdefinition.recover", "POST /deletedstorage/NAME/sas/DEFINITION/recover", false},

		// https://learn.microsoft.com/rest/api/keyvault/managedhsm/operation-groups.
		// A scope is /, /keys or /keys/NAME.
		{inHSM, "backup.start", "POST /backup", true},
		{inHSM, "backup.start", "POST /prebackup", true},
		{inHSM, "backup.status", "GET /backup/JOB/pending", false},
		{inHSM, "restore.start", "PUT /restore", false},
		{inHSM, "restore.start", "PUT /prerestore", false},
		{inHSM, "restore.key", "PUT /keys/NAME/restore", false},
		{inHSM, "restore.status", "GET /restore/JOB/pending", false},
		{inHSM, "securitydomain.download", "POST /securitydomain/download", true},
		{inHSM, "securitydomain.downloadstatus", "GET /securitydomain/download/pending", false},
		{inHSM, "securitydomain.gettransferkey", "GET /securitydomain/upload", false},
		{inHSM, "securitydomain.upload", "POST /securitydomain/upload", false},
		{inHSM, "securitydomain.uploadstatus", "GET /securitydomain/upload/pending", false},
		{inHSM, "setting.list", "GET /settings", false},
		{inHSM, "setting.get", "GET /settings/NAME", false},
		{inHSM, "setting.update", "PATCH /settings/NAME", false},
		{inHSM, "roledefinition.list", "GET /providers/Microsoft.Authorization/roleDefinitions", false},
		{inHSM, "roledefinition.get", "GET /providers/Microsoft.Authorization/roleDefinitions/NAME", false},
		{inHSM, "roledefinition.write", "PUT /providers/Microsoft.Authorization/roleDefinitions/NAME", false},
		{inHSM, "roledefinition.delete", "DELETE /providers/Microsoft.Authorization/roleDefinitions/NAME", false},
		{inHSM, "roleassignment.list", "GET /providers/Microsoft.Authorization/roleAssignments", false},
		{inHSM, "roleassignment.get", "GET /providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roleassignment.write", "PUT /providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roleassignment.delete", "DELETE /providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roledefinition.list", "GET /keys/providers/Microsoft.Authorization/roleDefinitions", false},
		{inHSM, "roleassignment.list", "GET /keys/providers/Microsoft.Authorization/roleAssignments", false},
		{inHSM, "roleassignment.get", "GET /keys/providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roleassignment.write", "PUT /keys/providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roleassignment.delete", "DELETE /keys/providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roleassignment.list", "GET /keys/NAME/providers/Microsoft.Authorization/roleAssignments", false},
		{inHSM, "roleassignment.get", "GET /keys/NAME/providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roleassignment.write", "PUT /keys/NAME/providers/Microsoft.Authorization/roleAssignments/NAME", false},
		{inHSM, "roleassignment.delete", "DELETE /keys/NAME/providers/Microsoft.Authorization/roleAssignments/NAME", false},
	}
}

// maxVaultSegments is the length of the longest path of the table.
const maxVaultSegments = 6

// vaultTable has the rows by the number of their segments.
type vaultTable [maxVaultSegments + 1][]vaultPattern

type vaultPattern struct {
	verbs    verbs
	segments []string // in lower case; empty: any
	op       Operation
}

func compileVault(service string, hsm bool) (table vaultTable, list []OperationInfo) {
	for _, row := range vaultRows() {
		if row.where&inVault == 0 && !hsm || row.where&inHSM == 0 && hsm {
			continue
		}
		methods, path, _ := strings.Cut(row.request, " ")
		p := vaultPattern{verbs: parseVerbs(methods), op: Operation{Name: service + "." + row.name, Mints: row.mints}}
		for segment := range strings.SplitSeq(path[1:], "/") {
			if strings.ToUpper(segment) == segment {
				segment = ""
			}
			p.segments = append(p.segments, strings.ToLower(segment))
		}
		table[len(p.segments)] = append(table[len(p.segments)], p)
		list = append(list, OperationInfo{p.op, row.request})
	}
	return table, list
}

// find gives the operation of a call to a vault. Empty segments count for
// nothing, for clients put two slashes behind the vault's URL, and where a
// version is left out.
func (t *vaultTable) find(c *Call, method string, k kind) Operation {
	simple := isSimple(c.Path)
	if !simple {
		if doubt := doubtOf(c.Path, true); doubt != "" {
			return unknown(k, doubt)
		}
	}
	if reason := overridesPath(c); reason != "" {
		return unknown(k, reason)
	}
	var s segments
	if !s.split(c.Path) || s.n >= len(t) {
		return unknown(k, notDocumented)
	}
	for _, segment := range s.at[:s.n] {
		if !simple && !isPlainName(segment) {
			return unknown(k, "its path holds what no name in a vault has")
		}
	}
	verb := verbOf(method)
rows:
	for i := range t[s.n] {
		p := &t[s.n][i]
		if p.verbs&verb == 0 {
			continue
		}
		for j, want := range p.segments {
			if want != "" && !readsAs(s.at[j], want) {
				continue rows
			}
		}
		return p.op
	}
	return unknown(k, notDocumented)
}

// overridesPath looks for fields that some front ends put in the place of the
// path, from which the operation is read.
func overridesPath(c *Call) string {
	for _, name := range [...]string{"X-Original-Url", "X-Rewrite-Url"} {
		if _, count := c.first(name); count > 0 {
			return "a header field overrides its path"
		}
	}
	return ""
}
