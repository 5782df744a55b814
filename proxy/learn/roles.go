package learn

import (
	"slices"
	"strings"
)

// grant says which built-in roles allow some operations.
type grant struct {
	// operations are names, or what names begin with and a *.
	operations string
	roles      []string // each is enough; the least first
	why        string   // where there are none: why
}

// The roles' names in short.
const (
	kvReader      = "Key Vault Reader"
	kvSecretsUser = "Key Vault Secrets User"
	kvSecrets     = "Key Vault Secrets Officer"
	kvCertUser    = "Key Vault Certificate User"
	kvCerts       = "Key Vault Certificates Officer"
	kvWrap        = "Key Vault Crypto Service Encryption User"
	kvRelease     = "Key Vault Crypto Service Release User"
	kvCryptoUser  = "Key Vault Crypto User"
	kvCrypto      = "Key Vault Crypto Officer"
	kvAdmin       = "Key Vault Administrator"

	hsmAuditor    = "Managed HSM Crypto Auditor"
	hsmWrap       = "Managed HSM Crypto Service Encryption User"
	hsmRelease    = "Managed HSM Crypto Service Release User"
	hsmCryptoUser = "Managed HSM Crypto User"
	hsmCrypto     = "Managed HSM Crypto Officer"
	hsmBackup     = "Managed HSM Backup"
	hsmPolicy     = "Managed HSM Policy Administrator"
	hsmAdmin      = "Managed HSM Administrator"

	reader         = "Reader"
	contributor    = "Contributor"
	accountOwner   = "Storage Account Contributor"
	blobDelegator  = "Storage Blob Delegator"
	blobReader     = "Storage Blob Data Reader"
	blobWriter     = "Storage Blob Data Contributor"
	blobOwner      = "Storage Blob Data Owner"
	queueReader    = "Storage Queue Data Reader"
	queueSender    = "Storage Queue Data Message Sender"
	queueProcessor = "Storage Queue Data Message Processor"
	queueWriter    = "Storage Queue Data Contributor"
	tableReader    = "Storage Table Data Reader"
	tableWriter    = "Storage Table Data Contributor"
	fileReader     = "Storage File Data Privileged Reader"
	fileWriter     = "Storage File Data Privileged Contributor"
)

// Reasons for which an operation has no role.
const (
	needsNone      = "it needs no role by itself"
	notUnderstood  = "bearerd does not know what the call does"
	noneDocumented = "no document says which role allows it"
	ofTheAPI       = "what the service allows by which role is its own affair"
)

// grants is the table, of which the first line that fits counts. What a role
// allows:
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security,
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage,
// https://learn.microsoft.com/azure/key-vault/managed-hsm/built-in-roles.
// What Storage asks for:
// https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory#permissions-for-calling-data-operations.
// Azure Resource Manager's own are made from the operation; see actionsOf.
func grants() []grant {
	secretMetadata := []string{kvReader, kvSecretsUser, kvCertUser, kvSecrets, kvAdmin}
	secretValue := []string{kvSecretsUser, kvCertUser, kvSecrets, kvAdmin}
	certificates := []string{kvReader, kvCertUser, kvCerts, kvAdmin}
	keys := []string{kvReader, kvWrap, kvCertUser, kvCryptoUser, kvCrypto, kvAdmin}
	keyUse := []string{kvCryptoUser, kvCrypto, kvAdmin}
	keyWrap := []string{kvWrap, kvCryptoUser, kvCrypto, kvAdmin}
	hsmKeys := []string{hsmAuditor, hsmWrap, hsmCryptoUser, hsmCrypto, hsmAdmin}
	hsmUse := []string{hsmCryptoUser, hsmCrypto, hsmAdmin}
	hsmManage := []string{hsmCrypto, hsmAdmin}
	blobRead := []string{blobReader, blobWriter, blobOwner}
	blobWrite := []string{blobWriter, blobOwner}
	accountRead := []string{reader, accountOwner, contributor}
	accountWrite := []string{accountOwner, contributor}
	return []grant{
		{operations: "keyvault.secret.get", roles: secretValue},
		{operations: "keyvault.secret.list* keyvault.secret.getdeleted", roles: secretMetadata},
		{operations: "keyvault.secret.*", roles: []string{kvSecrets, kvAdmin}},
		{operations: "keyvault.certificate.getcontacts", roles: []string{kvReader, kvAdmin}},
		{operations: "keyvault.certificate.getissuer keyvault.certificate.listissuers", roles: []string{kvReader, kvCerts, kvAdmin}},
		{operations: "keyvault.certificate.get* keyvault.certificate.list*", roles: certificates},
		{operations: "keyvault.certificate.*", roles: []string{kvCerts, kvAdmin}},
		{operations: "keyvault.key.getrotationpolicy", roles: []string{kvReader, kvCrypto, kvAdmin}},
		{operations: "keyvault.key.get* keyvault.key.list*", roles: keys},
		{operations: "keyvault.key.wrapkey keyvault.key.unwrapkey", roles: keyWrap},
		{operations: "keyvault.key.encrypt keyvault.key.decrypt keyvault.key.sign keyvault.key.verify keyvault.key.update keyvault.key.backup", roles: keyUse},
		{operations: "keyvault.key.release", roles: []string{kvRelease, kvCrypto, kvAdmin}},
		{operations: "keyvault.key.*", roles: []string{kvCrypto, kvAdmin}},
		{operations: "keyvault.storage.get* keyvault.storage.list* keyvault.sasdefinition.get* keyvault.sasdefinition.list*", roles: []string{kvReader, kvAdmin}},
		{operations: "keyvault.storage.* keyvault.sasdefinition.*", roles: []string{kvAdmin}},
		{operations: "keyvault.randombytes.get", why: noneDocumented},

		{operations: "managedhsm.key.getdeleted managedhsm.key.listdeleted", roles: []string{hsmAuditor, hsmCrypto, hsmAdmin}},
		{operations: "managedhsm.key.getrotationpolicy managedhsm.key.getattestation", roles: hsmUse},
		{operations: "managedhsm.key.get managedhsm.key.list*", roles: hsmKeys},
		{operations: "managedhsm.key.wrapkey managedhsm.key.unwrapkey", roles: []string{hsmWrap, hsmCryptoUser, hsmCrypto, hsmAdmin}},
		{operations: "managedhsm.key.encrypt managedhsm.key.decrypt managedhsm.key.sign managedhsm.key.verify managedhsm.key.create managedhsm.key.update managedhsm.key.rotate managedhsm.key.updaterotationpolicy managedhsm.randombytes.get", roles: hsmUse},
		{operations: "managedhsm.key.backup", roles: []string{hsmBackup, hsmCryptoUser, hsmCrypto, hsmAdmin}},
		{operations: "managedhsm.key.release", roles: []string{hsmRelease}},
		{operations: "managedhsm.key.*", roles: hsmManage},
		{operations: "managedhsm.backup.*", roles: []string{hsmBackup, hsmAdmin}},
		{operations: "managedhsm.roleassignment.* managedhsm.roledefinition.get managedhsm.roledefinition.list", roles: []string{hsmPolicy, hsmAdmin}},
		{operations: "managedhsm.roledefinition.* managedhsm.restore.* managedhsm.securitydomain.* managedhsm.setting.*", roles: []string{hsmAdmin}},

		{operations: "storage.preflight storage.table.batch", why: needsNone},
		{operations: "storage.account.userdelegationkey", roles: []string{blobDelegator, blobReader, blobWriter, blobOwner}},
		{operations: "storage.account.getproperties storage.account.getstats", roles: accountRead},
		{operations: "storage.account.*", roles: accountWrite},
		{operations: "storage.blob.find storage.blob.gettags storage.blob.settags storage.blob.setimmutabilitypolicy storage.blob.deleteimmutabilitypolicy", roles: []string{blobOwner}},
		{operations: "storage.blob.get* storage.blob.list storage.blob.query", roles: blobRead},
		{operations: "storage.blob.*", roles: blobWrite},
		{operations: "storage.container.getacl storage.container.setacl", roles: []string{blobOwner}},
		{operations: "storage.container.get* storage.container.list", roles: blobRead},
		{operations: "storage.container.*", roles: blobWrite},
		{operations: "storage.dfs.path.setacl*", roles: []string{blobOwner}},
		{operations: "storage.dfs.filesystem.getproperties storage.dfs.filesystem.list storage.dfs.path.read storage.dfs.path.list storage.dfs.path.get* storage.dfs.path.checkaccess", roles: blobRead},
		{operations: "storage.dfs.*", roles: blobWrite},

		{operations: "storage.queue.service.get* storage.table.service.get* storage.file.service.get*", roles: accountRead},
		{operations: "storage.queue.service.* storage.table.service.* storage.file.service.*", roles: accountWrite},
		{operations: "storage.queue.getacl storage.queue.setacl storage.table.getacl storage.table.setacl", roles: accountWrite},
		{operations: "storage.queue.message.peek", roles: []string{queueReader, queueProcessor, queueWriter}},
		{operations: "storage.queue.message.get storage.queue.message.delete", roles: []string{queueProcessor, queueWriter}},
		{operations: "storage.queue.message.put", roles: []string{queueSender, queueWriter}},
		{operations: "storage.queue.list storage.queue.getmetadata", roles: []string{queueReader, queueWriter}},
		{operations: "storage.queue.*", roles: []string{queueWriter}},
		{operations: "storage.table.list storage.table.get storage.table.entity.get storage.table.entity.query", roles: []string{tableReader, tableWriter}},
		{operations: "storage.table.*", roles: []string{tableWriter}},
		{operations: "storage.file.share.createpermission", roles: []string{fileWriter}},
		{operations: "storage.file.share.getpermission", roles: []string{fileReader, fileWriter}},
		{operations: "storage.file.share.get* storage.file.share.list", roles: accountRead},
		{operations: "storage.file.share.*", roles: accountWrite},
		{operations: "storage.file.get* storage.file.list* storage.file.directory.get* storage.file.directory.list", roles: []string{fileReader, fileWriter}},
		{operations: "storage.file.*", roles: []string{fileWriter}},

		{operations: "arm.batch", why: needsNone},
		{operations: "arm.read", roles: []string{reader, contributor}},
		{operations: "arm.action arm.write arm.delete arm.credential arm.webapp.functiontoken", roles: []string{contributor}},
		{operations: "keyvault.unknown managedhsm.unknown storage.unknown arm.unknown api.unknown", why: notUnderstood},
		{operations: "api.*", why: ofTheAPI},
	}
}

// rolesFor gives the roles each of which allows an operation, the least first,
// or why there are none. ok is false where the table has no line for it.
func rolesFor(operation string) (roles []string, why string, ok bool) {
	for _, g := range grants() {
		for pattern := range strings.FieldsSeq(g.operations) {
			prefix, all := strings.CutSuffix(pattern, "*")
			if operation == pattern || all && strings.HasPrefix(operation, prefix) {
				return g.roles, g.why, true
			}
		}
	}
	if strings.HasPrefix(operation, "arm.") && len(actionsOf(operation)) > 0 {
		if isRead(operation) {
			return []string{reader, contributor}, "", true
		}
		return nil, "", true // a role of its own, of actionsOf
	}
	return nil, "", false
}

// isRead reports whether Resource Manager takes the operation for reading. What
// it then shows may still be a key.
func isRead(operation string) bool { return strings.HasSuffix(operation, ".read") }

// leastRoles gives the fewest of the least roles that allow all of the
// operations: those that come first for one of them, without those for whose
// operations another of them is enough.
func leastRoles(operations []string) (roles []string) {
	enough := make(map[string][]string)
	for _, operation := range operations {
		allowed, _, _ := rolesFor(operation)
		if len(allowed) == 0 {
			continue
		}
		enough[operation] = allowed
		if !slices.Contains(roles, allowed[0]) {
			roles = append(roles, allowed[0])
		}
	}
	for _, role := range slices.Clone(roles) {
		others := slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == role })
		spared := true
		for _, allowed := range enough {
			spared = spared && slices.ContainsFunc(others, func(r string) bool { return slices.Contains(allowed, r) })
		}
		if spared {
			roles = others
		}
	}
	slices.Sort(roles)
	return roles
}
