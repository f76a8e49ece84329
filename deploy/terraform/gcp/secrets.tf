# One secret for each file that pods find in /secrets (deploy/k8s/base/settings.env names them). Only the namespace's
# account may read them, and these only.

ephemeral "random_password" "key" {
  length  = 64
  special = false
}

ephemeral "random_password" "jwt" {
  length  = 64
  special = false
}

locals {
  made_here = toset(["secret_key", "jwt_signing_key", "database_url", "redis_url", "redis_ca"])

  # File → the secret it comes from.
  files = merge(
    { for file, secret in google_secret_manager_secret.this : file => secret.secret_id },
    { email_providers = var.email_providers_secret }
  )
}

resource "google_secret_manager_secret" "this" {
  for_each = local.made_here

  secret_id = "${var.name}-${each.key}"
  project   = var.project_id

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_version" "secret_key" {
  secret                 = google_secret_manager_secret.this["secret_key"].id
  secret_data_wo         = ephemeral.random_password.key.result
  secret_data_wo_version = 1
}

resource "google_secret_manager_secret_version" "jwt_signing_key" {
  secret                 = google_secret_manager_secret.this["jwt_signing_key"].id
  secret_data_wo         = ephemeral.random_password.jwt.result
  secret_data_wo_version = 1
}

resource "google_secret_manager_secret_version" "database_url" {
  secret = google_secret_manager_secret.this["database_url"].id
  secret_data_wo = format(
    "postgres://sendonce:%s@%s:5432/sendonce?sslmode=require",
    ephemeral.random_password.database.result, google_sql_database_instance.this.private_ip_address
  )
  secret_data_wo_version = var.password_version
}

# Its certificate names no address. The authority is this instance's own, and so says who it is.
resource "google_secret_manager_secret_version" "redis_url" {
  secret = google_secret_manager_secret.this["redis_url"].id
  secret_data = format(
    "rediss://:%s@%s:%d/0?ssl_ca_certs=/secrets/redis_ca&ssl_check_hostname=false",
    google_redis_instance.this.auth_string, google_redis_instance.this.host, google_redis_instance.this.port
  )
}

resource "google_secret_manager_secret_version" "redis_ca" {
  secret      = google_secret_manager_secret.this["redis_ca"].id
  secret_data = join("\n", google_redis_instance.this.server_ca_certs[*].cert)
}

resource "google_secret_manager_secret_iam_member" "pods" {
  for_each = local.files

  project   = var.project_id
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member = format(
    "principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s.svc.id.goog/subject/ns/%s/sa/sendonce",
    data.google_project.this.number, var.project_id, var.kubernetes_namespace
  )
}

data "google_project" "this" {
  project_id = var.project_id
}
