# PostgreSQL, the only truth: its disk is written in two zones before a commit is answered, and a standby takes it over.

ephemeral "random_password" "database" {
  length  = 40
  special = false # it stands in a URL
}

resource "google_sql_database_instance" "this" {
  name                = var.name
  project             = var.project_id
  region              = var.region
  database_version    = "POSTGRES_${var.postgres_version}"
  deletion_protection = true

  settings {
    tier                        = var.database_tier
    edition                     = "ENTERPRISE"
    availability_type           = "REGIONAL"
    deletion_protection_enabled = true
    disk_type                   = "PD_SSD"
    disk_autoresize             = true

    # What was accepted, and what was marked before its dot, must be there after a crash.
    database_flags {
      name  = "synchronous_commit"
      value = "on"
    }

    database_flags {
      name  = "max_connections"
      value = tostring(var.database_max_connections)
    }

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network_id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
    }
  }

  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "this" {
  name     = "sendonce"
  project  = var.project_id
  instance = google_sql_database_instance.this.name
}

resource "google_sql_user" "this" {
  name                = "sendonce"
  project             = var.project_id
  instance            = google_sql_database_instance.this.name
  password_wo         = ephemeral.random_password.database.result
  password_wo_version = var.password_version
}
