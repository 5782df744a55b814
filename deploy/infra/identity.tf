# A user-assigned identity for bearerd, with the least roles for one vault and one storage account.
#   terraform init && terraform apply -var resource_group=prod -var vault=payroll -var account=acct
# Then name it in the machine's identity block, or: az vm identity assign --resource-group prod --name app1 --identities <resource_id>
terraform {
  required_version = ">= 1.5"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
  }
}

provider "azurerm" {
  features {}
}

variable "resource_group" { type = string }
variable "vault" { type = string }
variable "account" { type = string }

variable "identity" {
  type    = string
  default = "bearerd"
}

data "azurerm_resource_group" "this" {
  name = var.resource_group
}

data "azurerm_key_vault" "this" {
  name                = var.vault
  resource_group_name = var.resource_group
}

data "azurerm_storage_account" "this" {
  name                = var.account
  resource_group_name = var.resource_group
}

resource "azurerm_user_assigned_identity" "bearerd" {
  name                = var.identity
  resource_group_name = data.azurerm_resource_group.this.name
  location            = data.azurerm_resource_group.this.location
}

resource "azurerm_role_assignment" "reads_secrets" {
  scope                = data.azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.bearerd.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "reads_blobs" {
  scope                = data.azurerm_storage_account.this.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.bearerd.principal_id
  principal_type       = "ServicePrincipal"
}

output "client_id" {
  description = "identity: {client_id: ...} in bearerd.yaml"
  value       = azurerm_user_assigned_identity.bearerd.client_id
}

output "resource_id" {
  value = azurerm_user_assigned_identity.bearerd.id
}
