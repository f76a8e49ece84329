variable "name" {
  description = "Prefix of everything that is made."
  type        = string
  default     = "sendonce"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "A letter, then up to 19 lower-case letters, digits and hyphens."
  }
}

variable "image" {
  description = "Sendonce's image with its digest or tag: ACCOUNT.dkr.ecr.REGION.amazonaws.com/sendonce@sha256:…"
  type        = string

  validation {
    condition     = can(regex("(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*)$", var.image)) && !endswith(var.image, ":latest")
    error_message = "Name a digest or a tag other than latest, so that all tasks run the same release."
  }
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository that holds the image; tasks may pull from no other."
  type        = string
}

variable "vpc_id" {
  description = "VPC to live in."
  type        = string
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks, the database and Valkey, in two zones or more. They need a way out (NAT) to the SMTP server."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 2
    error_message = "Two subnets at least, in different zones: the database has a standby in another."
  }
}

variable "load_balancer_subnet_ids" {
  description = "Subnets of the load balancer, in two zones or more: public ones, or private ones with load_balancer_internal."
  type        = list(string)

  validation {
    condition     = length(var.load_balancer_subnet_ids) >= 2
    error_message = "Two subnets at least: a load balancer wants two zones."
  }
}

variable "load_balancer_internal" {
  description = "Whether the API is reached from inside the network only."
  type        = bool
  default     = true
}

variable "client_cidrs" {
  description = "Networks that may call the API."
  type        = list(string)

  validation {
    condition     = length(var.client_cidrs) > 0 && alltrue([for cidr in var.client_cidrs : can(cidrhost(cidr, 0))])
    error_message = "One network at least, each as in 10.0.0.0/16."
  }
}

variable "hostname" {
  description = "The API's public name. Requests for any other are answered 404."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.hostname))
    error_message = "A host name without https:// and without a port."
  }
}

variable "certificate_arn" {
  description = "ACM certificate for hostname."
  type        = string
}

variable "email_providers_secret_arn" {
  description = "Secrets Manager secret that you made, whose text is EMAIL_PROVIDERS: main=smtp+tls://user:pass@host:587"
  type        = string
}

variable "settings" {
  description = "Other settings of Sendonce that are no secrets (docs/settings.md), for all tasks."
  type        = map(string)
  default     = {}

  validation {
    condition = length(setintersection(keys(var.settings), [
      "SECRET_KEY", "JWT_SIGNING_KEY", "JWT_PRIVATE_KEY", "DATABASE_URL", "EMAIL_PROVIDERS", "EVIDENCE_SOURCES",
      "EVENT_SECRETS", "EVENT_KEYS"
    ])) == 0
    error_message = "Secrets would stand in the task definition for all to read."
  }
}

variable "drain_seconds" {
  description = "Time that a worker has to finish what is under way when it is stopped (DRAIN_SECONDS)."
  type        = number
  default     = 20

  validation {
    condition     = var.drain_seconds >= 0 && var.drain_seconds <= 80
    error_message = "0 to 80: Fargate kills after 120 s, and handing back takes up to 40 of them."
  }
}

variable "api_count" {
  description = "API tasks: at least these many, and up to the second number by processor time."
  type        = object({ least = number, most = number })
  default     = { least = 2, most = 8 }

  validation {
    condition     = var.api_count.least >= 1 && var.api_count.most >= var.api_count.least
    error_message = "One at least, and most not below least."
  }
}

variable "worker_count" {
  description = "Worker tasks: at least these many, and up to the second number by processor time."
  type        = object({ least = number, most = number })
  default     = { least = 2, most = 10 }

  validation {
    condition     = var.worker_count.least >= 1 && var.worker_count.most >= var.worker_count.least
    error_message = "One at least, for nothing else sends, and most not below least."
  }
}

variable "postgres_version" {
  description = "Major version of PostgreSQL. Sendonce is tested with 18."
  type        = string
  default     = "18"
}

variable "database_instance_class" {
  description = "Of the database and its standby."
  type        = string
  default     = "db.t4g.medium"
}

variable "database_storage_gb" {
  description = "Storage of the database at first, and the most it may grow to, GB."
  type        = object({ first = number, most = number })
  default     = { first = 50, most = 500 }
}

variable "password_version" {
  description = "Raise it by one to give the database a new password; then restart the services."
  type        = number
  default     = 1
}

variable "valkey_node_type" {
  description = "Of Valkey and its replica."
  type        = string
  default     = "cache.t4g.small"
}

variable "log_days" {
  description = "How long logs are kept, days."
  type        = number
  default     = 30
}
