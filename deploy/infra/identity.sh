#!/usr/bin/env bash
# A user-assigned identity for bearerd, on a machine, with the least roles for one vault and one storage account.
#   RESOURCE_GROUP=prod VM=app1 VAULT=payroll ACCOUNT=acct bash identity.sh
# It can be run again: what exists is kept. It ends with the line for bearerd.yaml.
set -euo pipefail
: "${RESOURCE_GROUP:?name the resource group}" "${VM:?name the virtual machine}" "${VAULT:?name the key vault}" "${ACCOUNT:?name the storage account}"
IDENTITY=${IDENTITY:-bearerd-$VM}

az identity create --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --output none
principal=$(az identity show --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --query principalId --output tsv)
client=$(az identity show --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --query clientId --output tsv)
resource=$(az identity show --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --query id --output tsv)
az vm identity assign --resource-group "$RESOURCE_GROUP" --name "$VM" --identities "$resource" --output none

grant() { # role, scope
  az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal --role "$1" --scope "$2" --output none
}
# The vault must use role-based access control: az keyvault update --name "$VAULT" --enable-rbac-authorization true
grant "Key Vault Secrets User" "$(az keyvault show --name "$VAULT" --query id --output tsv)"
grant "Storage Blob Data Reader" "$(az storage account show --name "$ACCOUNT" --query id --output tsv)"

echo "identity: {client_id: $client}"
