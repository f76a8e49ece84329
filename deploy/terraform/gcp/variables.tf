variable "name" {
  description = "Prefix of everything that is made."
  type        = string
  default     = "sendonce"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "A letter, then up to 19 lower-case letters, digits and hyphens."
  }
}

variable "project_id" {
  description = "Google Cloud project, with the APIs container, sqladmin, redis, secretmanager and servicenetworking enabled."
  type        = string
}

variable "region" {
  description = "Region of everything, as in europe-west3."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region, as in europe-west3, and not a zone."
  }
}

variable "network_id" {
  description = "VPC to live in: projects/PROJECT/global/networks/NAME"
  type        = string
}

variable "subnetwork_id" {
  description = "Subnet of the cluster's nodes, in region: projects/PROJECT/regions/REGION/subnetworks/NAME"
  type        = string
}

variable "operator_cidrs" {
  description = "Networks from which kubectl may reach the cluster."
  type        = list(string)

  validation {
    condition     = length(var.operator_cidrs) > 0 && alltrue([for cidr in var.operator_cidrs : can(cidrhost(cidr, 0))])
    error_message = "One network at least, each as in 203.0.113.0/24."
  }
}

variable "email_providers_secret" {
  description = "Name of a Secret Manager secret of the project that you made, whose text is EMAIL_PROVIDERS: main=smtp+tls://user:pass@host:587"
  type        = string
}

variable "kubernetes_namespace" {
  description = "Namespace of Sendonce in the cluster, as in deploy/k8s/base."
  type        = string
  default     = "sendonce"
}

variable "postgres_version" {
  description = "Major version of PostgreSQL. Sendonce is tested with 18."
  type        = number
  default     = 18
}

variable "database_tier" {
  description = "Machine of the database and its standby: db-custom-CPUS-MEGABYTES"
  type        = string
  default     = "db-custom-2-8192"

  validation {
    condition     = startswith(var.database_tier, "db-custom-")
    error_message = "db-custom-CPUS-MEGABYTES: shared machines have no standby worth the name."
  }
}

variable "database_max_connections" {
  description = "Connections of PostgreSQL: 18 for each pod of the API, 4 for each worker, 7 for each scheduler."
  type        = number
  default     = 400
}

variable "password_version" {
  description = "Raise it by one to give the database a new password; then restart the pods."
  type        = number
  default     = 1
}

variable "redis_memory_gb" {
  description = "Memory of Redis, GB."
  type        = number
  default     = 1
}
