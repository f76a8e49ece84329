# A doorbell and a cache: nothing in it is worth keeping, so there are no snapshots. Its replica saves seconds.
# Memory is given back as it should be (volatile-lru, ElastiCache's default): queues have no expiry and stay.

resource "aws_elasticache_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.private_subnet_ids
}

resource "aws_elasticache_replication_group" "this" {
  replication_group_id = var.name
  description          = "Sendonce's doorbell and cache"
  engine               = "valkey"
  engine_version       = "8.0"
  node_type            = var.valkey_node_type

  num_cache_clusters         = 2
  multi_az_enabled           = true
  automatic_failover_enabled = true

  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.valkey.id]
  transit_encryption_enabled = true
  at_rest_encryption_enabled = true
  snapshot_retention_limit   = 0
}
