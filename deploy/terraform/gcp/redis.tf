# A doorbell and a cache: nothing in it is worth keeping. Its replica saves seconds.

resource "google_redis_instance" "this" {
  name               = var.name
  project            = var.project_id
  region             = var.region
  tier               = "STANDARD_HA"
  memory_size_gb     = var.redis_memory_gb
  redis_version      = "REDIS_7_2"
  authorized_network = var.network_id
  connect_mode       = "PRIVATE_SERVICE_ACCESS"

  # Its password and its authority are made by Google and do stand in the state.
  auth_enabled            = true
  transit_encryption_mode = "SERVER_AUTHENTICATION"

  # Queues have no expiry and are never evicted; marks of the gate are, and PostgreSQL answers instead.
  redis_configs = { maxmemory-policy = "volatile-lru" }

  depends_on = [google_service_networking_connection.services]
}
