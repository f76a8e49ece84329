# Made here, kept by Secrets Manager, and in no state: Terraform writes them and never reads them back.

ephemeral "random_password" "key" {
  length  = 64
  special = false
}

ephemeral "random_password" "jwt" {
  length  = 64
  special = false
}

resource "aws_secretsmanager_secret" "this" {
  for_each = toset(["SECRET_KEY", "JWT_SIGNING_KEY", "DATABASE_URL"])

  name_prefix = "${var.name}/${each.key}-"
}

resource "aws_secretsmanager_secret_version" "secret_key" {
  secret_id                = aws_secretsmanager_secret.this["SECRET_KEY"].id
  secret_string_wo         = ephemeral.random_password.key.result
  secret_string_wo_version = 1
}

resource "aws_secretsmanager_secret_version" "jwt_signing_key" {
  secret_id                = aws_secretsmanager_secret.this["JWT_SIGNING_KEY"].id
  secret_string_wo         = ephemeral.random_password.jwt.result
  secret_string_wo_version = 1
}

resource "aws_secretsmanager_secret_version" "database_url" {
  secret_id = aws_secretsmanager_secret.this["DATABASE_URL"].id
  secret_string_wo = format(
    "postgres://sendonce:%s@%s/sendonce?sslmode=require",
    ephemeral.random_password.database.result, aws_db_instance.this.endpoint
  )
  secret_string_wo_version = var.password_version
}

locals {
  secrets = merge(
    { for name, secret in aws_secretsmanager_secret.this : name => secret.arn },
    { EMAIL_PROVIDERS = var.email_providers_secret_arn }
  )
}
