# PostgreSQL, the only truth: with a standby in another zone that has every commit before we hear of it.

ephemeral "random_password" "database" {
  length  = 40
  special = false # it stands in a URL
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.private_subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  family      = "postgres${var.postgres_version}"

  # What was accepted, and what was marked before its dot, must be there after a crash.
  parameter {
    name  = "synchronous_commit"
    value = "on"
  }

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  identifier     = var.name
  engine         = "postgres"
  engine_version = var.postgres_version
  instance_class = var.database_instance_class
  multi_az       = true

  db_name             = "sendonce"
  username            = "sendonce"
  password_wo         = ephemeral.random_password.database.result
  password_wo_version = var.password_version

  storage_type          = "gp3"
  storage_encrypted     = true
  allocated_storage     = var.database_storage_gb.first
  max_allocated_storage = var.database_storage_gb.most

  db_subnet_group_name   = aws_db_subnet_group.this.name
  parameter_group_name   = aws_db_parameter_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false

  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  skip_final_snapshot             = false
  final_snapshot_identifier       = "${var.name}-final"
  auto_minor_version_upgrade      = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  performance_insights_enabled    = true
}
